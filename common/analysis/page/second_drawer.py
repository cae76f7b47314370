"""A second process that draws figures beside this one. Drawing them takes half of step 05's time.

Step 05 starts it before its own imports: matplotlib is then imported on another core while records are read. This
module takes the standard library alone, so that it can be. No pool of Python's own does it: all of them wait at their
end for a process that is stopped.
"""

from __future__ import annotations

import atexit
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import Pipe, Process
from multiprocessing.connection import Connection
from threading import Timer
from typing import Any

PATIENCE_SECONDS = 15.0
"""A figure takes a third of a second. A process that does not answer for so long is ended."""


class SecondDrawer:
    """Draws one figure at a time, as `drawing.draw` does: `order`, then `collect`. It ends with this process."""

    def __init__(self) -> None:
        self._pipe, theirs = Pipe()
        self.process = Process(target=_draw_what_comes, args=(theirs, self._pipe), daemon=True)
        self.process.start()
        theirs.close()
        atexit.register(self.process.kill)  # multiprocessing's own SIGTERM does not end a process that is stopped

    @classmethod
    def start(cls) -> SecondDrawer | None:
        """None where there is one core alone, or no further process may be started."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        try:
            return cls() if cores > 1 else None
        except OSError:
            return None

    @property
    def is_done(self) -> bool:
        """Whether `collect` would answer at once."""
        try:
            return self._pipe.poll()
        except OSError:
            return True

    def order(self, figure: Any, name: str, with_png: bool) -> None:
        """Hand over what it is to draw, and go on."""
        try:
            with self._patience():
                self._pipe.send((figure, name, with_png))
        except OSError:  # it is gone: nothing will come
            self._pipe.close()

    def collect(self) -> tuple[str, bytes | None] | None:
        """Wait for the drawing. None where it failed or takes too long: whoever asked draws it then."""
        with suppress(EOFError, OSError), self._patience():
            return self._pipe.recv()
        self._pipe.close()
        return None

    @contextmanager
    def _patience(self) -> Iterator[None]:
        """End the process if this lasts too long: both ends of the pipe then let go."""
        timer = Timer(PATIENCE_SECONDS, self.process.kill)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()


def _draw_what_comes(orders: Connection, other_end: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is answered by step 05 alone
    other_end.close()  # a copy of it would keep this process waiting when step 05 is no more
    from common.analysis.page.drawing import draw

    while True:
        try:
            orders.send(draw(*orders.recv()))
        except Exception:  # also the end of step 05. What cannot be drawn here is tried, and told of, there
            return
