"""Runs one command of a fault, does what is to be done to its ranks and loaders meanwhile, and leaves nothing behind.

Every process of a command has a mark in its environment, by which it is found. A process group would not do: torchrun
gives every rank a group of its own.
"""

import os
import re
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from time import monotonic, sleep

from common.command_line.commands import LOOPBACK, name_is_found
from common.command_line.terminal import state_and_parent

MARK = "LAB_FAULT"
PAUSE_SECONDS = 2.0
SLICE_SECONDS = 0.02
"""Short against a step, so that every one of them is slowed."""
PATIENCE_SECONDS = 5.0
"""For what ends by itself after the command, such as the process that prints a hang's sentence last."""
STARTERS = {"python": "", "torchrun": "-m torch.distributed.run"}


class Processes:
    """All processes that carry one mark, wherever they have gone."""

    def __init__(self, mark: str) -> None:
        self._mark = f"{MARK}={mark}".encode()
        self.over = Event()
        """Set when the command has ended: then nobody need be disturbed any more."""

    def all(self) -> dict[int, list[bytes]]:
        """Their environments (`RANK=1`, …) by process id. Nothing where there is no /proc."""
        environments = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError, ValueError):
                variables = (folder / "environ").read_bytes().split(b"\0")
                if self._mark in variables and state_and_parent(int(folder.name))[0] not in ("", "Z"):
                    environments[int(folder.name)] = variables
        return environments

    def rank_1(self) -> int:
        """The process that torchrun has started as rank 1. Raises ProcessLookupError."""
        pids = {pid for pid, variables in self.all().items() if b"RANK=1" in variables}
        for pid in sorted(pids):
            if state_and_parent(pid)[1] not in pids:  # else it is a loader's worker
                return pid
        raise ProcessLookupError("no rank 1")

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

    def _at_the_second_look(self) -> dict[int, list[bytes]]:
        """All of them; a process that is just becoming another program has no environment for a moment."""
        if processes := self.all():
            return processes
        sleep(0.05)
        return self.all()


def _program(pid: int) -> str:
    with suppress(OSError):
        return os.readlink(f"/proc/{pid}/exe")
    return ""


@dataclass(frozen=True)
class Act:
    """What is done to a running command from outside."""

    after: str
    """A pattern: it is done once the output has a line with it."""
    do: Callable[[Processes], None]


def _pause(processes: Processes) -> None:
    rank = processes.rank_1()
    os.kill(rank, signal.SIGSTOP)
    sleep(PAUSE_SECONDS)
    os.kill(rank, signal.SIGCONT)


def _throttle(processes: Processes) -> None:
    rank = processes.rank_1()
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
    "kill_rank": Act(FIRST_EPOCH, lambda processes: os.kill(processes.rank_1(), signal.SIGKILL)),
    "kill_worker": Act(FIRST_EPOCH, lambda processes: os.kill(processes.worker(), signal.SIGKILL)),
    "stop_rank": Act(FIRST_EPOCH, lambda processes: os.kill(processes.rank_1(), signal.SIGSTOP)),
    "pause_rank": Act(FIRST_EPOCH, _pause),
    "crowd": Act(PARITY, _crowd),
    "throttle_rank": Act(PARITY, _throttle),  # two thirds of its time, from the first measured step to the last
}


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    output: str
    seconds: float
    left: int
    """Processes that had to be killed in the end."""


def run(command: str, scratch: Path, act: Act | None, limit: float) -> Ended:
    """Run it in the current folder, under this Python. Whatever interrupts, its processes are gone afterwards."""
    mark = secrets.token_hex(8)
    processes, started = Processes(mark), monotonic()
    with open(scratch / "output", "w+", errors="replace") as output:
        child = subprocess.Popen(
            ["sh", "-c", command], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            env=_variables(scratch) | {MARK: mark}, process_group=0,
        )  # fmt: skip
        acting = Thread(target=_do, args=(act, scratch / "output", processes), daemon=True)
        try:
            acting.start()
            with suppress(subprocess.TimeoutExpired):
                child.wait(limit)
            seconds = monotonic() - started
        finally:
            processes.over.set()
            if child.poll() is None:
                child.kill()
                processes.kill()
            left = processes.kill(PATIENCE_SECONDS)
            code = child.wait()
            acting.join(PATIENCE_SECONDS)
        output.seek(0)
        return Ended(code, output.read(), seconds, left)


def _do(act: Act | None, output: Path, processes: Processes) -> None:
    """Wait for the line after which something is to be done, and do it."""
    if act is None:
        return
    while not re.search(act.after, output.read_text(errors="replace")):
        if processes.over.wait(0.1):
            return
    with suppress(ProcessLookupError):  # it has ended by itself
        act.do(processes)


def _variables(scratch: Path) -> dict[str, str]:
    """The environment, with `python` and `torchrun` as this Python's own, whatever they are called outside."""
    programs = scratch / "bin"
    programs.mkdir(exist_ok=True)
    for name, module in STARTERS.items():
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {module} "$@"\n')
        program.chmod(0o755)
    with socket.create_server((LOOPBACK, 0)) as server:  # a free port
        port = server.getsockname()[1]
    kept = {name: value for name, value in os.environ.items() if name not in ("RANK", "LOCAL_RANK", "WORLD_SIZE")}
    return kept | {
        "PATH": f"{programs}:{os.environ.get('PATH', os.defpath)}",
        "SCRATCH": str(scratch),
        "PORT": str(port),
        "TMPDIR": str(scratch),
        "LC_ALL": "C.UTF-8",  # what names a fault is looked for in English
        # torchrun's `--local-addr`, where it would wait for a name that nobody knows.
        **({} if name_is_found() else {"PET_LOCAL_ADDR": LOOPBACK}),
        "OMP_NUM_THREADS": "1",  # as torchrun sets it, with eight lines of warning
    }
