"""Starts one command at a time, and sees to it that none is left behind.

Each is a process group of its own, and signals reach it from here: it gets one Ctrl-C for one that is typed, whether a
terminal sent that to everybody or `kill` to this process alone. Nothing is raised where a signal comes in: it is
passed on, and the campaign ends once the command has, with the record that an interrupted run leaves. Ctrl-Z stops both
and `fg` continues both. Where the campaign dies by a signal that it cannot pass on, the command gets SIGTERM (Linux).
"""

import os
import shlex
import signal
import subprocess
import sys
from contextlib import suppress
from functools import partial

from common.command_line.commands import LAUNCH_VARIABLE, startable
from common.command_line.terminal import end_with_parent, stop_with_me
from common.records import Launch

STARTERS = {"python": [sys.executable], "torchrun": [sys.executable, "-m", "torch.distributed.run"]}


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
