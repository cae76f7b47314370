"""Starts one command at a time, sees to it that none is left behind, and knows how long each has taken.

Each is a process group of its own, and signals reach it from here: it gets one Ctrl-C for one that is typed, whether a
terminal sent that to everybody or `kill` to this process alone. Nothing is raised where a signal comes in: it is
passed on, and the campaign ends once the command has, with the record that an interrupted run leaves. Ctrl-Z stops both
and `fg` continues both. Where the campaign dies by a signal that it cannot pass on, the command gets SIGTERM (Linux).
"""

import math
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from time import monotonic

from common.command_line.commands import LAUNCH_VARIABLE, startable
from common.command_line.terminal import end_with_parent, stop_with_me
from common.messages import Message, message
from common.records import Launch

STARTERS = {"python": [sys.executable], "torchrun": [sys.executable, "-m", "torch.distributed.run"]}
REPORT_SECONDS = 15.0
"""What step 05 takes, until it has been seen."""
MARGIN = 1.3
"""The next launch of a step may take so many times as long as the longest one so far: a larger batch, a new switch."""


class LaunchError(Exception):
    """A command ended the campaign: it failed, or a signal came. The message is one line for the reader."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code
        """The campaign's exit code: the command's own, or 128 + the number of the signal, as shells count."""


class Launcher:
    """Runs commands in the current folder, under this Python. Their output goes where this process's goes."""

    def __init__(self) -> None:
        self._child: subprocess.Popen | None = None
        self.stopped_by: signal.Signals | None = None
        """The signal that has come: from then on nothing more is started."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:  # nohup, or a shell's background job: it stays ignored
                signal.signal(number, self._stop)
        stop_with_me(lambda: self._child.pid if self._child else None)

    def run(self, command: str, launch: Launch | None = None) -> None:
        """Run a command as a person would type it, beginning with `python` or `torchrun`. Raises `LaunchError`.

        Its record says which `launch` of the campaign it was.
        """
        starter, *arguments = shlex.split(startable(command))
        environment = dict(os.environ)
        environment.pop(LAUNCH_VARIABLE, None)
        if launch:
            environment[LAUNCH_VARIABLE] = launch.model_dump_json()
        if starter == "torchrun" and "--nproc_per_node=1" not in arguments:
            environment.setdefault("OMP_NUM_THREADS", "1")  # as torchrun sets it, with eight lines of warning
        code = 0
        if not self.stopped_by:
            self._child = subprocess.Popen(
                [*STARTERS[starter], *arguments],
                stdin=subprocess.DEVNULL,
                env=environment,
                process_group=0,
                preexec_fn=partial(end_with_parent, os.getpid()),
            )
            if self.stopped_by:  # it came in between
                self._stop(self.stopped_by)
            code = self._child.wait()
            self._child = None
        step = step_number(command)
        if self.stopped_by:
            how = "Ctrl-C" if self.stopped_by == signal.SIGINT else self.stopped_by.name
            raise LaunchError(f"stopped by {how} at step {step}: {command}", 128 + self.stopped_by)
        if code:
            how = f"exit code {code}" if code > 0 else f"killed by {signal.Signals(-code).name}"
            raise LaunchError(f"error: step {step} failed, {how}: {command}", code if code > 0 else 128 - code)

    def _stop(self, number: int, frame: object = None) -> None:
        self.stopped_by = signal.Signals(number)
        if self._child:
            with suppress(ProcessLookupError):  # it has just ended by itself
                os.killpg(self._child.pid, number)


def step_number(command: str) -> str:
    """The number of the step that a command starts: `04` of `torchrun … 04_ddp_training.py …`."""
    return next(word[:2] for word in shlex.split(command) if word.endswith(".py"))


class Pace:
    """How long a campaign's commands take: the last of each step stands for the next one of it."""

    def __init__(self) -> None:
        self._started = monotonic()
        self._seconds: dict[str, list[float]] = {}
        self._least_left = math.inf

    @property
    def elapsed(self) -> float:
        """Seconds since the campaign began."""
        return monotonic() - self._started

    def add(self, command: str, seconds: float) -> None:
        """Enter what a command took."""
        self._seconds.setdefault(step_number(command), []).append(seconds)

    def of(self, commands: Iterable[str]) -> float | None:
        """Seconds that these commands will take; None where one of their steps has not been seen."""
        last = {"05": REPORT_SECONDS} | {step: seconds[-1] for step, seconds in self._seconds.items()}
        steps = [step_number(command) for command in commands]
        return sum(last[step] for step in steps) if set(steps) <= set(last) else None

    def at_most(self, command: str) -> float:
        """Seconds that a launch with other settings than before may take, and the page after it."""
        longest = {step: max(seconds) for step, seconds in self._seconds.items()}
        return MARGIN * longest.get(step_number(command), max(longest.values(), default=0)) + REPORT_SECONDS

    def progress(self, commands: Iterable[str] | None = None) -> Message:
        """The time that is gone and, where it is known, the time until all of these have run. That never grows."""
        left, gone = None if commands is None else self.of(commands), in_minutes(self.elapsed)
        if left is None:
            return message("{time} gone", time=gone)
        self._least_left = min(left, self._least_left)
        return message("{time} gone, about {left} left", time=gone, left=in_minutes(self._least_left))

    def allow(self, seconds: float) -> None:
        """Let the time left grow once by so much: a round has been added, and that was said."""
        self._least_left += seconds


def in_minutes(seconds: float) -> str:
    """45 s, 5 min, 7 min 5 s."""
    minutes, rest = divmod(round(seconds), 60)
    return " ".join(([f"{minutes} min"] if minutes else []) + ([f"{rest} s"] if rest or not minutes else []))
