"""NCCL raises no error in the thread waiting for a collective that never ends, so a watchdog thread looks for one.

It counts the collectives that each rank has begun: a rank waits for those that have begun fewer. Of the GPU it asks
nothing: torch's flight recorder would ask it about its events, and such a call may itself have to wait while the host
waits in a full queue of launches (not measured; this way the question does not arise).

Nor does the main thread, where it waits for the GPU, hear the SIGTERM with which torchrun ends the ranks that are left
of a job: for a rank that was killed it is this thread, too, that looks.
"""

import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable
from time import time

import torch.distributed as dist

from common.hangs.hang_watch import HangWatch, since, waiting_line

POLL_SECONDS = 1.0


class CollectiveWatchdog:
    """Calls `on_end`, once, in a thread of its own: with the number of a rank that was ended without a word; or, once
    this rank has begun no collective for `seconds` and others of this host have begun fewer, with those ranks and with
    what this one waits in, since when and where."""

    def __init__(self, seconds: float, hangs: HangWatch, on_end: Callable[[list[int], str | None], object]) -> None:
        self._seconds, self._hangs, self._on_end = seconds, hangs, on_end
        self._begun: deque[tuple[float, int]] = deque([(time(), 0)], maxlen=100)
        """When (seconds since 1970) this rank had begun how many collectives."""
        self._stopped = threading.Event()
        self._speaks = threading.RLock()
        threading.Thread(target=self._watch, name="collective watchdog", daemon=True).start()

    def stop(self) -> None:
        """From here on nothing is called. Does not return to another thread while `on_end` is at work: the main one,
        which may wake when the missing rank ends, would give another reason."""
        with self._speaks:
            self._stopped.set()

    def _watch(self) -> None:
        hang = None
        while not hang and not self._stopped.wait(POLL_SECONDS):
            hang = self._look()
        with self._speaks:
            if hang and not self._stopped.is_set():
                self._on_end(*hang)

    def _look(self) -> tuple[list[int], str | None] | None:
        """What is said of ranks that do not come; None while nothing is wrong."""
        killed = self._hangs.killed()
        if killed is not None:
            return [killed], None
        began, number = self._begun[-1]
        now_begun = dist.group.WORLD._get_sequence_number_for_group()
        if now_begun != number:
            self._begun.append((time(), now_begun))
            self._hangs.note_exchanges(now_begun)
            return None
        behind = self._hangs.ranks_behind(number) if time() - began > self._seconds else {}
        if not behind:
            return None
        # This rank waits since it began a collective that another rank did not.
        began = next(at for at, number in self._begun if number > min(behind.values()))
        main = sys._current_frames().get(threading.main_thread().ident or 0)
        line = waiting_line(traceback.extract_stack(main))
        return list(behind), f"an exchange of {dist.get_backend()}'s {since(began)}, at {line}"
