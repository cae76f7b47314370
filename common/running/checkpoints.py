"""Checkpoints: what a run needs to go on where another one stopped, under the same method or another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from common.command_line.options import TrainingOptions
from common.errors import UsageError
from common.machine.devices import Place
from common.machine.ranks import from_rank_0, gathered
from common.records import Resumed, RunConfig
from common.records.disk import write_whole
from common.training.models import seed_devices
from common.training.step import Training

KEEP = 2
"""Checkpoints that stay of those that a run wrote: should the newest be torn, there is one before it."""
MADE_FOR = ("model", "num_classes")
"""What a checkpoint must agree on with the run that loads it."""
POSITION = ("samples_per_epoch", "global_batch_size", "accumulation_steps", "seed")
"""What it must agree on besides, if it lies in the middle of an epoch."""


@dataclass(frozen=True)
class Start:
    """Where a run begins."""

    epoch: int = 1
    steps_done: int = 0
    state: dict | None = None
    """What `restore` puts back; None for a run from the beginning."""


class Checkpoints:
    """The checkpoints that a run writes: after every epoch, and after every so many steps."""

    def __init__(self, options: TrainingOptions, place: Place) -> None:
        self._folder, self._every, self._place = options.checkpoint_dir, options.checkpoint_every, place
        self._written: list[Path] = []

    def is_due(self, step: int, last: bool) -> bool:
        """Whether one is to be written after this step of an epoch."""
        return bool(self._folder) and (last or (self._every is not None and step % self._every == 0))

    def write(self, training: Training, epoch: int, steps_done: int) -> str | None:
        """Write one, whole or not at all: the run that loads it goes on in `epoch` after `steps_done` steps.

        All ranks call it, rank 0 writes. Returns what went wrong: hours of training are worth more than a checkpoint.
        """
        random = gathered(_random_state(self._place))
        if self._place.rank != 0:
            return None
        state = {
            "config": training.config.model_dump(mode="json", include={*MADE_FOR, *POSITION}),
            "epoch": epoch,
            "steps_done": steps_done,
            "model": training.classifier.state_dict(),  # the bare model: no `module.` before the names
            "optimizer": training.optimizer.state_dict(),
            "scaler": training.scaler.state_dict(),
            "random_by_rank": random,
        }
        path = self._folder / f"checkpoint-{epoch:04}-{steps_done:06}.pt"
        try:
            write_whole(path, lambda file: torch.save(state, file))
        except OSError as error:
            return error.strerror or type(error).__name__
        self._written = [*(kept for kept in self._written if kept != path), path]
        while len(self._written) > KEEP:
            self._written.pop(0).unlink(missing_ok=True)
        return None


def find_start(options: TrainingOptions, config: RunConfig, rank: int) -> tuple[Start, Resumed | None]:
    """Where this run begins, on every rank the same: rank 0 reads. Raises `UsageError`."""
    found: tuple[Start, Resumed | None] | UsageError | None = None
    if rank == 0:
        try:
            found = _read(options, config)
        except UsageError as error:
            found = error
    found = from_rank_0(found)
    if isinstance(found, UsageError):
        raise found
    return found


def restore(training: Training, place: Place, start: Start) -> None:
    """Put weights, optimizer, scaler and random state back, after the warm-up has changed them."""
    if start.state is None:
        return
    training.classifier.load_state_dict(start.state["model"])
    training.optimizer.load_state_dict(start.state["optimizer"])
    if start.state["scaler"]:  # of a run in another precision it is empty
        training.scaler.load_state_dict(start.state["scaler"])
    of_ranks = start.state["random_by_rank"]
    if len(of_ranks) != place.world.processes:  # another method or another number of ranks: streams of their own again
        seed_devices(place, training.config.seed + start.epoch)
        return
    on_cpu, *on_gpus = of_ranks[place.rank]
    torch.set_rng_state(on_cpu)
    for gpu, state in zip(place.indices if place.kind == "cuda" else (), on_gpus, strict=False):
        torch.cuda.set_rng_state(state, gpu)


def _random_state(place: Place) -> list[torch.Tensor]:
    """Of the CPU, then of each GPU of this process."""
    gpus = place.indices if place.kind == "cuda" else ()
    return [torch.get_rng_state(), *map(torch.cuda.get_rng_state, gpus)]


def _read(options: TrainingOptions, config: RunConfig) -> tuple[Start, Resumed | None]:
    folder = options.checkpoint_dir
    if folder:
        _make(folder)
    newest_first = sorted(folder.glob("checkpoint-*.pt"), reverse=True) if folder else []
    if options.resume != "auto":
        path = Path(options.resume) if options.resume else None
        found = _checked_file(path, config) if path else (Start(), None)
        if newest_first and (path is None or path.resolve().parent != folder.resolve()):
            raise UsageError(
                f"--checkpoint-dir {folder} holds checkpoints of another run: "
                "add --resume auto to go on from them, or name another folder"
            )
        return found
    skipped: list[str] = []
    for path in newest_first:
        try:
            return _checked(path, _load(path), config, skipped)
        except ValueError as error:
            skipped.append(f"{path.name}: {error}")
    if skipped:
        raise UsageError(f"--resume auto: none of {folder}'s checkpoints can be read ({skipped[0]})")
    return Start(), None


def _checked_file(path: Path, config: RunConfig) -> tuple[Start, Resumed]:
    try:
        return _checked(path, _load(path), config, [])
    except ValueError as error:
        raise UsageError(f"--resume {path}: {error}") from None


def _load(path: Path) -> dict:
    """Raises ValueError, in words, for what is no whole checkpoint."""
    try:
        # weights_only: tensors and plain values; a file from elsewhere cannot run code.
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ValueError("there is no such file") from None
    except Exception as error:  # what the reader stumbles over first in a torn file may be of any kind
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise ValueError(f"it cannot be read ({reason[:80]})") from None
    wanted = {"config", "epoch", "steps_done", "model", "optimizer", "scaler", "random_by_rank"}
    if not isinstance(state, dict) or not wanted <= set(state):
        raise ValueError("it is not a checkpoint of this lab")
    return state


def _checked(path: Path, state: dict, config: RunConfig, skipped: list[str]) -> tuple[Start, Resumed]:
    epoch, steps_done = state["epoch"], state["steps_done"]
    for name in (*MADE_FOR, *(POSITION if steps_done else ())):
        theirs, ours = state["config"][name], getattr(config, name)
        if theirs != ours:
            where = ", in the middle of an epoch" if name in POSITION else ""
            raise UsageError(f"--resume: {path.name} was written with {name} {theirs}{where}, this run has {ours}")
    if epoch > config.epochs:
        raise UsageError(f"--resume: {path.name} has all {config.epochs} epochs behind it; ask for more --epochs")
    return Start(epoch, steps_done, state), Resumed(file=str(path), epoch=epoch, steps_done=steps_done, skipped=skipped)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make --checkpoint-dir {folder} ({error.strerror}): name another folder") from None
