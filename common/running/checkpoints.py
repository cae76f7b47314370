"""Checkpoints: what a run needs to go on where another one stopped, under the same method or another."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import torch

from common.errors import UsageError
from common.machine.ranks import barrier, from_rank_0
from common.measuring.clocks import StepClock
from common.records import Resumed, RunConfig
from common.records.disk import write_whole
from common.training.trainer import Trainer

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
    """What `Checkpoints.restore` puts back; None for a run from the beginning."""


class Checkpoints:
    """The checkpoints that a run writes: after every epoch, and after every so many steps."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._folder, self._every = args.checkpoint_dir, args.checkpoint_every
        self._written: list[Path] = []

    def after_step(self, trainer: Trainer, epoch: int):
        """For `Trainer.measured_epoch`: writes one where it is due, while the clock stands still."""

        def write_if_due(step: int, clock: StepClock) -> None:
            last = step == trainer.steps_per_epoch
            if not (last or (self._every and step % self._every == 0)):
                return
            with clock.paused():
                self.write(trainer, *((epoch + 1, 0) if last else (epoch, step)))
                barrier()  # or the other ranks would wait for this one in the next step, by the clock

        return write_if_due if self._folder else None

    def write(self, trainer: Trainer, epoch: int, steps_done: int) -> None:
        """Rank 0 writes, whole or not at all; the run that loads it goes on in `epoch` after `steps_done` steps."""
        run = trainer.run
        if run.place.rank != 0:
            return
        state = {
            "config": run.config.model_dump(mode="json", include={*MADE_FOR, *POSITION}),
            "epoch": epoch,
            "steps_done": steps_done,
            "model": trainer.classifier.state_dict(),  # the bare model: no `module.` before the names
            "optimizer": trainer.optimizer.state_dict(),
            "scaler": trainer.scaler.state_dict(),
            "random": [torch.get_rng_state(), *map(torch.cuda.get_rng_state, _gpus(trainer))],
        }
        path = self._folder / f"checkpoint-{epoch:04}-{steps_done:06}.pt"
        try:
            write_whole(path, lambda file: torch.save(state, file))
        except OSError as error:  # hours of training are worth more than this checkpoint
            run.progress.line(f"[yellow]checkpoint not written: {error.strerror}")
            return
        self._written = [*(kept for kept in self._written if kept != path), path]
        while len(self._written) > KEEP:
            self._written.pop(0).unlink(missing_ok=True)


def find_start(args: argparse.Namespace, config: RunConfig, rank: int) -> tuple[Start, Resumed | None]:
    """Where this run begins, on every rank the same: rank 0 reads. Raises `UsageError`."""
    found = None
    if rank == 0:
        try:
            found = _read(args, config)
        except UsageError as error:
            found = error
    found = from_rank_0(found)
    if isinstance(found, UsageError):
        raise found
    return found


def restore(trainer: Trainer, start: Start) -> None:
    """Put weights, optimizer, scaler and random state back, after the warm-up has changed them."""
    if start.state is None:
        return
    trainer.classifier.load_state_dict(start.state["model"])
    trainer.optimizer.load_state_dict(start.state["optimizer"])
    if start.state["scaler"]:  # of a run in another precision it is empty
        trainer.scaler.load_state_dict(start.state["scaler"])
    on_cpu, *on_gpus = start.state["random"]
    torch.set_rng_state(on_cpu)
    for gpu, state in zip(_gpus(trainer), on_gpus, strict=False):
        torch.cuda.set_rng_state(state, gpu)


def _read(args: argparse.Namespace, config: RunConfig) -> tuple[Start, Resumed | None]:
    if args.resume and args.resume != "auto":
        path = Path(args.resume)
        try:
            return _checked(path, _load(path), config, [])
        except ValueError as error:
            raise UsageError(f"--resume {path}: {error}") from None
    if not args.checkpoint_dir:
        return Start(), None
    _make(args.checkpoint_dir)
    newest_first = sorted(args.checkpoint_dir.glob("checkpoint-*.pt"), reverse=True)
    if not args.resume:
        if newest_first:
            raise UsageError(
                f"--checkpoint-dir {args.checkpoint_dir} holds checkpoints of another run: "
                "add --resume auto to go on from them, or name another folder"
            )
        return Start(), None
    skipped: list[str] = []
    for path in newest_first:
        try:
            return _checked(path, _load(path), config, skipped)
        except ValueError as error:
            skipped.append(f"{path.name}: {error}")
    if skipped:
        raise UsageError(f"--resume auto: none of {args.checkpoint_dir}'s checkpoints can be read ({skipped[0]})")
    return Start(), None


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
    wanted = {"config", "epoch", "steps_done", "model", "optimizer", "scaler", "random"}
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


def _gpus(trainer: Trainer) -> list[int]:
    return list(trainer.run.place.indices) if trainer.run.place.kind == "cuda" else []
