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
    """Calls one of two functions, once, in a thread of its own: `on_killed` with the number of a rank that was ended
    without a word; `on_hang` once this rank has begun no collective for `seconds` and others of this host have begun
    fewer, with those ranks, and with what this one waits in, since when and where."""

    def __init__(
        self,
        seconds: float,
        hangs: HangWatch,
        on_hang: Callable[[list[int], str], None],
        on_killed: Callable[[int], None],
    ) -> None:
        self._seconds, self._hangs, self._on_hang, self._on_killed = seconds, hangs, on_hang, on_killed
        self._begun: deque[tuple[float, int]] = deque([(time(), 0)], maxlen=100)
        """When (seconds since 1970) this rank had begun how many collectives."""
        self._stopped = threading.Event()
        self._speaks = threading.RLock()
        threading.Thread(target=self._watch, name="collective watchdog", daemon=True).start()

    def stop(self) -> None:
        """From here on nothing is called. Does not return to another thread while one of the two is at work: the main
        one, which may wake when the missing rank ends, would give another reason."""
        with self._speaks:
            self._stopped.set()

    def _watch(self) -> None:
        while not self._stopped.wait(POLL_SECONDS):
            killed = self._hangs.killed()
            if killed is not None:
                return self._unless_stopped(self._on_killed, killed)
            began, number = self._begun[-1]
            now_begun = dist.group.WORLD._get_sequence_number_for_group()
            if now_begun != number:
                self._begun.append((time(), now_begun))
                self._hangs.note_exchanges(now_begun)
            elif time() - began > self._seconds and (behind := self._hangs.ranks_behind(number)):
                return self._unless_stopped(self._on_hang, list(behind), self._waits(min(behind.values())))
        return None

    def _unless_stopped(self, call: Callable[..., None], *arguments: object) -> None:
        with self._speaks:
            if not self._stopped.is_set():
                call(*arguments)

    def _waits(self, others_began: int) -> str:
        """Where this rank waits, and since when: since it began a collective that another rank did not."""
        began = next(at for at, number in self._begun if number > others_began)
        main = sys._current_frames().get(threading.main_thread().ident or 0)
        line = waiting_line(traceback.extract_stack(main))
        return f"an exchange of {dist.get_backend()}'s {since(began)}, at {line}"
