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

from common.hangs.hang_watch import HangWatch, own_line, since
from common.records import Failure

POLL_SECONDS = 1.0


class CollectiveWatchdog:
    """Calls `on_end`, once, in a thread of its own, with what is wrong: a rank was ended without a word; or this rank
    has begun no collective for `seconds`, and others of this host have begun fewer."""

    def __init__(self, seconds: float, hangs: HangWatch, on_end: Callable[[Failure], object]) -> None:
        self._seconds, self._hangs, self._on_end = seconds, hangs, on_end
        self._begun: deque[tuple[float, int]] = deque([(time(), 0)], maxlen=100)
        """When (seconds since 1970) this rank had begun how many collectives."""
        self._stopped = threading.Event()
        self._looks = threading.RLock()
        threading.Thread(target=self._watch, name="collective watchdog", daemon=True).start()

    def stop(self) -> None:
        """From here on nothing is called. Does not return to another thread while something is wrong: the main one,
        which may wake when the missing rank ends, would give another reason."""
        with self._looks:
            self._stopped.set()

    def _watch(self) -> None:
        while not self._stopped.wait(POLL_SECONDS):
            with self._looks:
                failure = None if self._stopped.is_set() else self._hangs.killed() or self._look()
                if failure:
                    self._on_end(failure)
                    return

    def _look(self) -> Failure | None:
        """The hang of this rank and those that do not come; None while nothing is wrong."""
        began, number = self._begun[-1]
        now_begun = dist.group.WORLD._get_sequence_number_for_group()
        if now_begun != number:
            self._begun.append((time(), now_begun))
            self._hangs.leave_note("begun", str(now_begun))
            return None
        if time() - began <= self._seconds:
            return None
        notes = {rank: int(note or 0) for rank, note in self._hangs.notes_on("begun").items()}
        behind = {rank: begun for rank, begun in notes.items() if begun < number}
        if not behind:
            return None
        # This rank waits since it began a collective that another rank did not.
        began = next(at for at, number in self._begun if number > min(behind.values()))
        main = sys._current_frames().get(threading.main_thread().ident or 0)
        where = f"an exchange of {dist.get_backend()}'s {since(began)}, at {own_line(traceback.extract_stack(main))}"
        return self._hangs.blame([*behind], f"rank {dist.get_rank()} waits for it in {where}")
