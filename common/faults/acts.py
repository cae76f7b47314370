"""What a fault does: files that it needs, and acts on ranks and loaders while they train.

Every process of a command has a mark in its environment, by which it is found. A process group would not do: torchrun
gives every rank a group of its own.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from threading import Event
from time import monotonic, sleep

from common.command_line.terminal import state_and_parent

PER_CLASS = 16


class _Harm:
    """Unpickled, it writes a file: in an attack it would be any program."""

    def __init__(self, target: Path) -> None:
        self._target = target

    def __reduce__(self):
        return Path.touch, (self._target,)


def hostile_checkpoint(scratch: Path) -> None:
    """A file as torch saves it, whose pickle runs code."""
    with zipfile.ZipFile(scratch / "hostile.pt", "w") as parts:
        parts.writestr("archive/data.pkl", pickle.dumps(_Harm(scratch / "harm"), protocol=2))
        parts.writestr("archive/version", "3")


def empty_disk(scratch: Path) -> None:
    """A folder for a small disk to be mounted at."""
    (scratch / "disk").mkdir()


def broken_image(scratch: Path) -> None:
    """Two folders of images, `good` and `bad`; `bad` has a broken one."""
    _good_and_bad(scratch)
    (scratch / "bad" / "red" / "05.jpg").write_bytes(b"no image")


def empty_class(scratch: Path) -> None:
    """Two folders of images; in `bad` one of the classes has none."""
    _good_and_bad(scratch)
    (scratch / "bad" / "blue").mkdir()


def large_images(scratch: Path) -> None:
    """Two folders of the same images; those in `bad` are as a camera makes them."""
    _good_and_bad(scratch, 1600)


def _good_and_bad(scratch: Path, pixels: int = 48) -> None:
    """Two classes of images each, of so many pixels a side in `bad`."""
    from PIL import Image

    for folder, size in ((scratch / "good", 48), (scratch / "bad", pixels)):
        random = Random(0)
        for name, channel in (("red", 0), ("green", 1)):
            (folder / name).mkdir(parents=True)
            for number in range(PER_CLASS):
                colour = [random.randrange(64) for _ in range(3)]
                colour[channel] = 255
                Image.new("RGB", (size, size), tuple(colour)).save(folder / name / f"{number:02}.jpg")


MARK = "LAB_FAULT"
PAUSE_SECONDS = 2.0
SLICE_SECONDS = 0.02
"""Short against a step, so that every one of them is slowed."""


class Processes:
    """All processes that carry one mark, wherever they have gone."""

    def __init__(self, mark: str) -> None:
        self._mark = f"{MARK}={mark}".encode()
        self.over = Event()
        """Set when the command has ended: then nobody need be disturbed any more."""

    def all(self) -> dict[int, dict[bytes, bytes]]:
        """Their environments, by process id. Nothing where there is no /proc."""
        environments = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError, ValueError):
                variables = (folder / "environ").read_bytes().split(b"\0")
                if self._mark in variables and state_and_parent(int(folder.name))[0] not in ("", "Z"):
                    pairs = (one.partition(b"=") for one in variables)
                    environments[int(folder.name)] = {name: value for name, _, value in pairs}
        return environments

    def rank(self, number: int) -> int:
        """The process that torchrun has started as this rank. Raises ProcessLookupError."""
        ranks = {pid for pid, variables in self.all().items() if variables.get(b"RANK") == str(number).encode()}
        for pid in sorted(ranks):
            if state_and_parent(pid)[1] not in ranks:  # else it is a loader's worker
                return pid
        raise ProcessLookupError(f"no rank {number}")

    def worker(self) -> int:
        """A process that the command's Python has started: a loader's worker. Raises ProcessLookupError."""
        pids = self.all()
        for pid in sorted(pids, reverse=True):
            parent = state_and_parent(pid)[1]
            if parent in pids and _program(pid) == _program(parent):
                return pid
        raise ProcessLookupError("no worker")

    def kill(self, patience: float = 0.0) -> int:
        """End all that are still there after so many seconds; returns how many that were."""
        until = monotonic() + patience
        while (pids := self._at_the_second_look()) and monotonic() < until:
            sleep(0.1)
        rest = pids
        while rest:  # one of them may just be starting another
            for pid in rest:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            rest = self._at_the_second_look()
        return len(pids)

    def _at_the_second_look(self) -> dict[int, dict[bytes, bytes]]:
        """All of them; a process that is just becoming another program has no environment for a moment."""
        if processes := self.all():
            return processes
        sleep(0.05)
        return self.all()


@dataclass(frozen=True)
class Act:
    """What is done to a running command from outside."""

    after: str
    """A pattern: it is done once the output has a line with it."""
    do: Callable[[Processes], None]


def _pause(processes: Processes) -> None:
    rank = processes.rank(1)
    os.kill(rank, signal.SIGSTOP)
    sleep(PAUSE_SECONDS)
    os.kill(rank, signal.SIGCONT)


def _throttle(processes: Processes) -> None:
    rank = processes.rank(1)
    with suppress(ProcessLookupError):
        while not processes.over.wait(SLICE_SECONDS):
            os.kill(rank, signal.SIGSTOP)
            sleep(2 * SLICE_SECONDS)
            os.kill(rank, signal.SIGCONT)


def _crowd(processes: Processes) -> None:
    """Four busy programs for each core, until the command is over."""
    loop = [sys.executable, "-S", "-c", "while True: pass"]
    loops = [subprocess.Popen(loop) for _ in range(4 * (os.cpu_count() or 1))]
    processes.over.wait()
    for busy in loops:
        busy.kill()
        busy.wait()


FIRST_EPOCH, PARITY = r"epoch 1/", r"parity: "
ACTS = {
    "kill_rank": Act(FIRST_EPOCH, lambda processes: os.kill(processes.rank(1), signal.SIGKILL)),
    "kill_worker": Act(FIRST_EPOCH, lambda processes: os.kill(processes.worker(), signal.SIGKILL)),
    "stop_rank": Act(FIRST_EPOCH, lambda processes: os.kill(processes.rank(1), signal.SIGSTOP)),
    "pause_rank": Act(FIRST_EPOCH, _pause),
    "crowd": Act(PARITY, _crowd),
    "throttle_rank": Act(PARITY, _throttle),  # two thirds of its time, from the first measured step to the last
}


def _program(pid: int) -> str:
    with suppress(OSError):
        return os.readlink(f"/proc/{pid}/exe")
    return ""
