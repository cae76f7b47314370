"""Checkpoints: what a run needs to go on where another one stopped, under the same method or another."""

from __future__ import annotations

import os
import re
from pathlib import Path

import torch

from common.command_line.options import TrainingOptions
from common.errors import UsageError
from common.machine.devices import Place
from common.machine.ranks import gathered
from common.records.files import write_whole
from common.running.checkpoint_folder import holder_of
from common.running.interruptions import signals_wait
from common.training.training import Training

KEEP = 2
"""Checkpoints that stay of those that a run wrote: should the newest be torn, there is one before it."""
MADE_FOR = ("model", "num_classes")
"""What a checkpoint must agree on with the run that loads it."""
SAME_TRAINING = ("seed", "momentum", "weight_decay", "learning_rate")
"""What it must agree on besides, if nobody has named it: `--resume auto` goes on with the same training."""
POSITION = ("samples_per_epoch", "global_batch_size", "accumulation_steps", "seed")
"""And if it lies in the middle of an epoch."""
NAME = re.compile(r"checkpoint-(\d{4,18})-(\d{6,18})\.pt")


class Checkpoints:
    """The checkpoints that a run writes: after every epoch, and after every so many steps."""

    def __init__(self, options: TrainingOptions, place: Place) -> None:
        self._folder, self._every, self._place = options.checkpoint_dir, options.checkpoint_every, place

    def is_due(self, step: int, last: bool) -> bool:
        """Whether one is to be written after this step of an epoch."""
        return bool(self._folder) and (last or (self._every is not None and step % self._every == 0))

    def write(self, training: Training, epoch: int, steps_done: int) -> str | None:
        """Write one, whole or not at all: the run that loads it goes on in `epoch` after `steps_done` steps.

        All ranks call it, rank 0 writes. Returns what went wrong: hours of training are worth more than a checkpoint.
        """
        random = gathered(_random_state(self._place))
        if self._place.rank != 0 or self._folder is None:
            return None
        state = {
            "run_id": holder_of(self._folder),
            "config": training.config.model_dump(mode="json", include={*MADE_FOR, *SAME_TRAINING, *POSITION}),
            "epoch": epoch,
            "steps_done": steps_done,
            "model": training.classifier.state_dict(),  # the bare model: no `module.` before the names
            "optimizer": training.optimizer.state_dict(),
            "scaler": training.scaler.state_dict(),
            "random_by_rank": random,
        }
        path = self._folder / f"checkpoint-{epoch:04}-{steps_done:06}.pt"
        try:
            with signals_wait():  # an interrupted torch.save reports an error of its own in place of the interruption
                write_whole(path, lambda file: torch.save(state, file))
            for old in checkpoint_files(self._folder)[KEEP:]:
                old.unlink(missing_ok=True)
        except (OSError, RuntimeError, UsageError) as error:
            # Where the disk is full, torch says so only in the context of its error.
            cause = error if isinstance(error, OSError) else error.__context__ or error
            return getattr(cause, "strerror", None) or str(cause).split("\n")[0] or type(cause).__name__
        return None


def _random_state(place: Place) -> list[torch.Tensor]:
    """Of the CPU, then of each GPU of this process."""
    gpus = place.indices if place.kind == "cuda" else ()
    return [torch.get_rng_state(), *map(torch.cuda.get_rng_state, gpus)]


def checkpoint_files(folder: Path) -> list[Path]:
    """The checkpoints in a folder, the one that most was trained for first. Raises `UsageError`."""
    try:
        found = {name: NAME.fullmatch(name) for name in os.listdir(folder)}
    except OSError as error:
        raise UsageError(f"cannot read --checkpoint-dir {folder} ({error.strerror}): name another folder") from None
    # By number: as text, 9999 would come after 10000.
    places = {name: tuple(map(int, match.groups())) for name, match in found.items() if match}
    return [folder / name for name in sorted(places, key=places.__getitem__, reverse=True)]
