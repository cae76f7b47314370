"""Checkpoints: what a run needs to go on where another one stopped, under the same method or another.

A folder of checkpoints belongs to one run at a time.
"""

import fcntl
import os
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO, TypeVar

import torch

from common.command_line.options import TrainingOptions
from common.errors import UsageError
from common.formats import printable
from common.machine.devices import LocalDevices, barrier, from_rank_0, gathered
from common.measuring.clocks import StepClock
from common.records.disk import check_writable, write_whole
from common.running.start import signals_wait
from common.training.training import Training

_Value = TypeVar("_Value")

KEEP = 2
"""Checkpoints that stay of those that a run wrote: should the newest be torn, there is one before it."""
MADE_FOR = ("model", "num_classes", "optimizer")
"""What a checkpoint must agree on with the run that loads it."""
SAME_TRAINING = ("seed", "momentum", "weight_decay", "learning_rate")
"""What it must agree on besides, if nobody has named it: `--resume auto` goes on with the same training."""
POSITION = ("samples_per_epoch", "global_batch_size", "accumulation_steps", "seed")
"""And if it lies in the middle of an epoch."""
LOCK = ".in-use"
"""Locked, and not only there: a lock ends with its process, on whatever host, and is not inherited by workers."""
NAME = re.compile(r"checkpoint-(\d{4,18})-(\d{6,18})\.pt")


class Checkpoints:
    """The checkpoints that a run writes: after every epoch, and after every so many steps."""

    def __init__(
        self, options: TrainingOptions, devices: LocalDevices, run_id: str, training: Training, clock: StepClock
    ) -> None:
        self._folder, self._every = options.checkpoint_dir, options.checkpoint_every
        self._local_devices, self._run_id, self._training, self._clock = devices, run_id, training, clock

    def after_step(self, epoch: int, step: int) -> str | None:
        """Write one if it is due after this step of an epoch, off the clock.

        All ranks call it, rank 0 writes. Returns what went wrong: hours of training are worth more than a checkpoint.
        """
        last = step == self._training.steps_per_epoch
        if self._folder is None or not (last or (self._every is not None and step % self._every == 0)):
            return None
        with self._clock.paused():
            problem = self._write(self._folder, *((epoch + 1, 0) if last else (epoch, step)))
            barrier()  # or the other ranks would wait for rank 0 in the next step, by the clock
        return problem

    def _write(self, folder: Path, epoch: int, steps_done: int) -> str | None:
        """Whole or not at all: the run that loads it goes on in `epoch` after `steps_done` steps."""
        training = self._training
        gpus = self._local_devices.indices if self._local_devices.kind == "cuda" else ()
        random = gathered([torch.get_rng_state(), *map(torch.cuda.get_rng_state, gpus)])  # the CPU's comes first
        if self._local_devices.rank != 0:
            return None
        state = {
            "run_id": self._run_id,
            "config": training.config.model_dump(mode="json", include={*MADE_FOR, *SAME_TRAINING, *POSITION}),
            "epoch": epoch,
            "steps_done": steps_done,
            "model": training.module.state_dict(),  # the bare model: no `module.` before the names
            "optimizer": training.optimizer.state_dict(),
            "scaler": training.scaler.state_dict(),
            "random_by_rank": random,
        }
        path = folder / f"checkpoint-{epoch:04}-{steps_done:06}.pt"
        try:
            with signals_wait():  # an interrupted torch.save reports an error of its own in place of the interruption
                write_whole(path, lambda file: torch.save(state, file))
            for old in checkpoint_files(folder)[KEEP:]:
                old.unlink(missing_ok=True)
        except (OSError, RuntimeError, UsageError) as error:
            # Where the disk is full, torch says so only in the context of its error.
            cause = error if isinstance(error, OSError) else error.__context__ or error
            return getattr(cause, "strerror", None) or str(cause).split("\n")[0] or type(cause).__name__
        return None


def checkpoint_files(folder: Path) -> list[Path]:
    """The checkpoints in a folder, the one that most was trained for first. Raises `UsageError`."""
    try:
        matches = [match for name in os.listdir(folder) if (match := NAME.fullmatch(name))]
    except OSError as error:
        raise UsageError(f"cannot read --checkpoint-dir {folder} ({error.strerror}): name another folder") from None
    # By number: as text, 9999 would come after 10000.
    matches.sort(key=lambda match: (int(match[1]), int(match[2])), reverse=True)
    return [folder / match[0] for match in matches]


def by_rank_0(devices: LocalDevices, act: Callable[[], _Value]) -> _Value:
    """What rank 0 makes of it, on every rank. Raises `UsageError` on every rank where rank 0's `act` does."""
    made: Any = None
    if devices.rank == 0:
        try:
            made = act()
        except UsageError as error:
            made = error
    made = from_rank_0(made)
    if isinstance(made, UsageError):
        raise made
    return made


@contextmanager
def holding(folder: Path | None, run_id: str, devices: LocalDevices) -> Iterator[None]:
    """While open, no other run can write checkpoints into `folder`. All ranks call it, rank 0 locks.

    Raises `UsageError`, on every rank, where another run does, and where the folder cannot be written to.
    """
    with ExitStack() as held:
        if folder:
            by_rank_0(devices, lambda: held.enter_context(_locked(folder, run_id)))
        yield


@contextmanager
def _locked(folder: Path, run_id: str) -> Iterator[None]:
    check_writable(folder, "--checkpoint-dir")
    lock = _lock(folder, run_id)
    try:
        yield
    finally:
        if lock:
            with lock, suppress(OSError):
                os.unlink(folder / LOCK)  # before another run can lock it: that one looks whether it is still there


def _lock(folder: Path, run_id: str) -> TextIO | None:
    """None where the file system knows no locks."""
    for _ in range(100):  # a run that ends meanwhile takes its lock away
        try:
            file = open(os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666), "r+")  # noqa: SIM115
        except OSError:
            return None
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            with file:
                who = printable(file.read(400)) or "another run"
            raise UsageError(
                f"--checkpoint-dir {folder} is in use by {who}: wait for its end, or name another folder"
            ) from None
        except OSError:
            file.close()
            return None
        with suppress(OSError):
            if os.path.samestat(os.fstat(file.fileno()), os.stat(folder / LOCK)):
                file.truncate()
                file.write(f"{run_id} (process {os.getpid()} on {socket.gethostname()})")
                file.flush()
                return file
        file.close()
    return None
