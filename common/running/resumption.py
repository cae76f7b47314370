"""Where a run begins: at the beginning, or where the checkpoint that it goes on from was written."""

import copy
import pickle
import zipfile
from collections.abc import Sequence
from math import isclose
from pathlib import Path
from typing import NamedTuple

import torch

from common.command_line.options import TrainingOptions
from common.errors import UsageError
from common.formats import printable
from common.machine.devices import LocalDevices
from common.records import Resumed, RunConfig
from common.running.checkpoints import MADE_FOR, POSITION, SAME_TRAINING, by_rank_0, checkpoint_files
from common.training.models import seed_devices
from common.training.training import Training

PARTS = {
    "config": dict,
    "epoch": int,
    "steps_done": int,
    "model": dict,
    "optimizer": dict,
    "scaler": dict,
    "random_by_rank": list,
}
"""What a checkpoint holds, and of which type."""
OF_EACH_WEIGHT = {"momentum_buffer", "exp_avg", "exp_avg_sq"}
"""What SGD and AdamW keep, in the shape of the weights."""


class Start(NamedTuple):
    """Where a run begins."""

    epoch: int = 1
    steps_done: int = 0
    state: dict | None = None
    """What `restore` puts back; None for a run from the beginning."""
    resumed: Resumed | None = None
    """The same for the record."""


def find_start(options: TrainingOptions, config: RunConfig, devices: LocalDevices) -> Start:
    """Where this run begins, on every rank the same: rank 0 reads. Raises `UsageError`."""
    if options.resume == "auto":
        return by_rank_0(devices, lambda: _newest(options.checkpoint_dir, config, devices.world.restarts))
    return by_rank_0(devices, lambda: _named(options.resume, options.checkpoint_dir, config))


def restore(training: Training, devices: LocalDevices, start: Start) -> None:
    """Put weights, optimizer, scaler and random state back. Raises `UsageError` where they are not those of this model.

    To be called before the run begins, so that it fails early, and after the warm-up, which has changed them all.
    """
    if start.state is None:
        return
    try:
        if start.steps_done >= training.steps_per_epoch:
            raise ValueError(f"{start.steps_done} steps done of an epoch of {training.steps_per_epoch}")
        training.module.load_state_dict(start.state["model"])
        theirs, ours = start.state["optimizer"], training.optimizer.state_dict()
        sizes, own_sizes = ([len(group["params"]) for group in each["param_groups"]] for each in (theirs, ours))
        if sizes != own_sizes:  # a state would go to another weight
            raise ValueError(f"an optimizer of {sizes} weights by group, not {own_sizes}")
        # Its state alone: the numbers of its groups stay as the record has them, whatever the checkpoint's were.
        state = copy.deepcopy(theirs["state"])  # else the warm-up changes it
        training.optimizer.load_state_dict(ours | {"state": state})
        for parameter, values in training.optimizer.state.items():  # a model of one's own may have its layers reordered
            for name in OF_EACH_WEIGHT & values.keys():
                if values[name] is not None and values[name].shape != parameter.shape:
                    raise ValueError(f"a {name} of shape {tuple(values[name].shape)}, not {tuple(parameter.shape)}")
        if start.state["scaler"]:  # of a run in another precision it is empty
            training.scaler.load_state_dict(start.state["scaler"])
        of_ranks = start.state["random_by_rank"]
        if len(of_ranks) != devices.world.processes:  # another method, or other ranks: streams of their own again
            seed_devices(devices, training.config.seed + start.epoch)
            return
        on_cpu, *on_gpus = of_ranks[devices.rank]
        torch.set_rng_state(on_cpu)
        for gpu, state in zip(devices.indices if devices.kind == "cuda" else (), on_gpus, strict=False):
            torch.cuda.set_rng_state(state, gpu)
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        reason = printable(" ".join(str(error).split())[:200])
        raise UsageError(f"--resume: the checkpoint does not fit this model and run ({reason})") from None


def _named(file: str | None, folder: Path | None, config: RunConfig) -> Start:
    """From the file that the command line names, or else from the beginning; `folder` is for new checkpoints."""
    newest_first = checkpoint_files(folder) if folder else []
    path, start = Path(file) if file else None, Start()
    if path:
        try:
            start = _checked(path, _load(path), config)
        except ValueError as error:
            raise UsageError(f"--resume {path}: {error}") from None
    if newest_first and (path is None or path.resolve() != newest_first[0].resolve()):
        raise UsageError(
            f"--checkpoint-dir {folder} holds checkpoints of another run: "
            "add --resume auto to go on from the newest of them, or name another folder"
        )
    return start


def _newest(folder: Path | None, config: RunConfig, restarts: int) -> Start:
    """From the newest checkpoint in `folder` that can be read, or from the beginning where there is none."""
    unreadable, skipped = False, []
    for path in checkpoint_files(folder) if folder else ():
        try:
            state = _load(path)
        except ValueError as error:
            skipped.append(f"{path.name}: {error}")
            unreadable = True
            continue
        start = _checked(path, state, config, SAME_TRAINING, skipped, may_be_over=restarts > 0)
        if start.epoch <= config.epochs:
            return start
        # The rank that died had written its last checkpoint, and took the times of all epochs with it.
        skipped.append(f"{path.name}: nothing is left to train after it, and no record of what was trained")
    if unreadable:
        raise UsageError(f"--resume auto: none of {folder}'s checkpoints can be read ({skipped[0]})")
    return Start()


def _load(path: Path) -> dict:
    """Raises ValueError, in words, for what is no whole checkpoint."""
    try:
        with zipfile.ZipFile(path) as parts:
            if damaged := parts.testzip():  # torch does not look at its own checksums
                raise ValueError(f"{damaged} is damaged")
        # weights_only: tensors and plain values; a file from elsewhere cannot run code.
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ValueError("there is no such file") from None
    except IsADirectoryError:
        raise ValueError("it is a folder") from None
    except Exception as error:  # what the reader stumbles over first in a torn file may be of any kind
        if isinstance(error, pickle.UnpicklingError) and "Unsupported" in str(error):  # before anything of it was run
            raise ValueError("loading it would run a program that lies in it: refused") from None
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise ValueError(f"it cannot be read ({printable(reason[:80])})") from None
    if not isinstance(state, dict) or any(not isinstance(state.get(name), kind) for name, kind in PARTS.items()):
        raise ValueError("it is not a checkpoint of this lab")
    numbers = [state["config"].get(name, 1.0) for name in ("global_batch_size", "learning_rate")]
    if state["epoch"] < 1 or state["steps_done"] < 0 or not all(isinstance(number, int | float) for number in numbers):
        raise ValueError("it is not a checkpoint that this lab has written")
    return state


def _checked(
    path: Path,
    state: dict,
    config: RunConfig,
    training: Sequence[str] = (),
    skipped: Sequence[str] = (),
    may_be_over: bool = False,
) -> Start:
    """Raises `UsageError` where a checkpoint was written with other settings than it may be, or after the last epoch.

    `training`: those that it must agree on because nobody has named it.
    """
    epoch, steps_done = state["epoch"], state["steps_done"]
    theirs, ours = {"optimizer": "sgd"} | state["config"], config.model_dump(mode="json")
    batch_ratio = theirs.get("global_batch_size", ours["global_batch_size"]) / ours["global_batch_size"]
    for name in (*training, *MADE_FOR, *(POSITION if steps_done else ())):
        if name in training and name not in theirs:  # older checkpoints know the seed alone
            continue
        if theirs.get(name) == ours[name]:
            continue
        # Fewer or more ranks than before change the batch, and a learning rate that nobody has named goes with it.
        if name == "learning_rate" and isclose(theirs[name], ours[name] * batch_ratio):
            continue
        value = printable(str(theirs.get(name))[:80])
        if name in training:
            run = f" by {printable(str(state['run_id'])[:200])}" if state.get("run_id") else ""
            raise UsageError(
                f"--resume auto: {path.name} was written{run} with {name} {value}, this run has {ours[name]}: "
                f"give the same, or name the file (--resume {path}) and another --checkpoint-dir"
            )
        where = ", in the middle of an epoch" if name in POSITION else ""
        raise UsageError(f"--resume: {path.name} was written with {name} {value}{where}, this run has {ours[name]}")
    if epoch > config.epochs and not may_be_over:
        raise UsageError(f"--resume: {path.name} has all {config.epochs} epochs behind it; ask for more --epochs")
    resumed = Resumed(file=str(path), epoch=epoch, steps_done=steps_done, skipped=[*skipped])
    return Start(epoch, steps_done, state, resumed)
