"""What can be seen of a rank from outside: whether its process lives, the collective it waits in, its line of code."""

from __future__ import annotations

import ctypes
import json
import os
import re
import traceback
from datetime import UTC, datetime
from pathlib import Path

import torch

from common.command_line.terminal import state_and_parent

FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+) in (?P<name>\S+)')
NOT_OURS = ("site-packages", "/torch/", "<frozen", "/lib/python3")
ENDED = ("", "Z")
"""States of a process that has ended: nothing is left of it, or only what its parent has not read yet."""


def sibling_state(pid: int) -> str:
    """The state letter of another rank of this torchrun, as Linux gives it: `T` for stopped, one of `ENDED` for ended.

    A process that has the rank's number by now, but another parent, is none of them: the rank has ended.
    """
    state, parent = state_and_parent(pid)
    return state if parent == os.getppid() else ""


def signal_main_thread(pid: int, number: int) -> None:
    """Of a process that was stopped, any thread may answer a signal that is sent to the process as a whole."""
    tgkill = getattr(ctypes.CDLL(None), "tgkill", None)
    if tgkill is None:  # glibc before 2.30
        os.kill(pid, number)
    else:
        tgkill(pid, pid, number)  # the main thread has the number of the process


def pending_collective() -> str:
    """The collective that this rank waits in, and since when, by torch's flight recorder."""
    try:
        entries = json.loads(torch._C._distributed_c10d._dump_fr_trace_json())["entries"]
        pending = [entry for entry in entries if not entry["retired"]]
        entry = (pending or entries[-1:])[0]  # the collective that has failed counts as ended already
    except (AttributeError, KeyError, IndexError, RuntimeError, TypeError, ValueError):
        return "an exchange that torch's flight recorder does not know"
    name = f"{entry['profiling_name']} (exchange number {entry['collective_seq_id']})"
    return f"{name} {since(entry['time_created_ns'] / 1e9)}"


def since(began: float) -> str:
    """`since 10:15:30 UTC, 20 s`, of a moment in seconds since 1970."""
    moment = datetime.fromtimestamp(began, UTC)
    return f"since {moment:%H:%M:%S} UTC, {(datetime.now(UTC) - moment).total_seconds():.0f} s"


def waiting_line(frames: traceback.StackSummary) -> str:
    """The line of this lab, or of the user's own code, at which the innermost of these frames is."""
    return own_line(
        "\n".join(f'File "{frame.filename}", line {frame.lineno} in {frame.name}' for frame in reversed(frames))
    )


def own_line(stack: str) -> str:
    """`04_ddp_training.py:63 in train_step`: of a stack, innermost first, the first line that is no library's."""
    frames = list(FRAME.finditer(stack))
    for frame in [*(f for f in frames if not any(part in f["file"] for part in NOT_OURS)), *frames]:
        return f"{Path(frame['file']).name}:{frame['line']} in {frame['name']}"
    return "a place that it does not tell"
