"""Over NCCL no exchange that takes too long raises where the host waits for it: a thread looks for one.

NCCL's own watchdog ends the process in such a case, before Python can say anything; it gets `WATCHDOG_GRACE`
more time than this thread, and is what is left where this one cannot help.
"""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Callable
from time import time

from common.running.flight_recorder import open_since

POLL_SECONDS = 1.0


class ExchangeWatch:
    """Calls `on_hang` in a thread of its own, with the main thread's stack, once an exchange has been open for
    `seconds`. Until then it reads the flight recorder's open entries once a second, and costs nothing to speak of."""

    def __init__(self, seconds: float, on_hang: Callable[[traceback.StackSummary], None]) -> None:
        self._seconds, self._on_hang = seconds, on_hang
        self._stopped = threading.Event()
        threading.Thread(target=self._watch, name="exchange watch", daemon=True).start()

    def stop(self) -> None:
        """From here on nothing is called."""
        self._stopped.set()

    def _watch(self) -> None:
        while not self._stopped.wait(POLL_SECONDS):
            began = open_since()
            if began is not None and time() - began > self._seconds and not self._stopped.is_set():
                main = sys._current_frames().get(threading.main_thread().ident or 0)
                return self._on_hang(traceback.extract_stack(main))
