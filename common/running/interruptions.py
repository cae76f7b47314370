"""Ctrl-C, SIGTERM and SIGHUP: each ends the run in its own way, with a record, and none in the middle of a write."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from common.command_line.parser import under_torchrun

REASONS = {
    signal.SIGTERM: "ended by SIGTERM: a person, or a batch system at its time limit, has ended this process",
    signal.SIGHUP: "ended by SIGHUP: the terminal was closed; start long runs under nohup, tmux or screen",
}
UNDER_TORCHRUN = (
    "ended by SIGTERM: torchrun passes it on when a person or a batch system has ended the job, and sends it to all "
    "ranks when one of them has died"
)
SIGNALS = (signal.SIGINT, *REASONS)


_heard: list[int] = []
"""Signals that came."""


def interrupt_on_signals() -> None:
    """From here on all of them raise KeyboardInterrupt. What nohup has ignored stays ignored."""
    _heard.clear()
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _interrupt)


def interrupt_if_unheard() -> None:
    """Raise again what was lost: an exception that comes out of a signal may be swallowed by C code that was looking
    something up at that moment, and the run would go on. For between two steps."""
    if _heard:
        _interrupt(_heard[0], None)


def reason_of(error: BaseException) -> BaseException:
    """`error`, or the Ctrl-C that came before it: C code that an exception falls into may raise any other, and an
    exchange breaks when another rank has heard it first."""
    return KeyboardInterrupt() if signal.SIGINT in _heard else error


def ignore_signals() -> None:
    """For the last record: neither a second Ctrl-C nor a loader's worker that dies now must tear it."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler raises an error wherever the program is


@contextmanager
def signals_wait() -> Iterator[None]:
    """While open, a signal is only noted; it counts when the `with` ends. For what must be whole, and does not hang."""
    noted: list[int] = []
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    before = {number: handler for number, handler in handlers.items() if callable(handler)}
    for number in before:
        signal.signal(number, lambda number, frame: noted.append(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if noted:
        before[signal.Signals(noted[0])](noted[0], None)


def _interrupt(number: int, frame: object) -> None:
    _heard.append(number)
    reason = REASONS.get(signal.Signals(number))
    if number == signal.SIGTERM and under_torchrun():
        reason = UNDER_TORCHRUN
    raise KeyboardInterrupt(reason) if reason else KeyboardInterrupt
