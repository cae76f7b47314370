"""What is done to ranks and loaders while they train."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from time import sleep

from common.faults.fault import Act
from common.faults.marked_processes import Processes

FIRST_EPOCH = r"epoch 1/"
PAUSE_SECONDS = 2.0
SLICE_SECONDS = 0.02
"""Short against a step, so that every one of them is slowed."""


def _kill(processes: Processes) -> None:
    os.kill(processes.rank(1), signal.SIGKILL)


def _kill_worker(processes: Processes) -> None:
    os.kill(processes.worker(), signal.SIGKILL)


def _stop(processes: Processes) -> None:
    os.kill(processes.rank(1), signal.SIGSTOP)


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


KILL_RANK = Act(FIRST_EPOCH, _kill)
KILL_WORKER = Act(FIRST_EPOCH, _kill_worker)
STOP_RANK = Act(FIRST_EPOCH, _stop)
PAUSE_RANK = Act(FIRST_EPOCH, _pause)
CROWD = Act(r"parity: ", _crowd)
THROTTLE_RANK = Act(r"parity: ", _throttle)
"""Two thirds of its time taken away, from the first measured step to the last."""
