"""The processes that a command has started, wherever they have gone: each has its mark in the environment."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path
from threading import Event
from time import monotonic, sleep

MARK = "LAB_FAULT"


class Processes:
    """All processes that carry one mark. A process group would not do: torchrun gives every rank a group of its own."""

    def __init__(self, mark: str) -> None:
        self._mark = f"{MARK}={mark}".encode()
        self.over = Event()
        """Set when the command has ended: then nobody need be disturbed any more."""

    def all(self) -> dict[int, dict[bytes, bytes]]:
        """Their environments, by process id. Nothing where there is no /proc."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError, ValueError):
                variables = (folder / "environ").read_bytes().split(b"\0")
                is_zombie = (folder / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
                if self._mark in variables and not is_zombie:
                    pairs = (one.partition(b"=") for one in variables)
                    found[int(folder.name)] = {name: value for name, _, value in pairs}
        return found

    def rank(self, number: int) -> int:
        """The process that torchrun has started as this rank. Raises ProcessLookupError."""
        ranks = {pid for pid, variables in self.all().items() if variables.get(b"RANK") == str(number).encode()}
        for pid in sorted(ranks):
            if _parent(pid) not in ranks:  # else it is a loader's worker
                return pid
        raise ProcessLookupError(f"no rank {number}")

    def worker(self) -> int:
        """A process that the command's Python has started: a loader's worker. Raises ProcessLookupError."""
        pids = self.all()
        for pid in sorted(pids, reverse=True):
            if _parent(pid) in pids and _program(pid) == _program(_parent(pid)):
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
        if found := self.all():
            return found
        sleep(0.05)
        return self.all()


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _program(pid: int) -> str:
    with suppress(OSError):
        return os.readlink(f"/proc/{pid}/exe")
    return ""
