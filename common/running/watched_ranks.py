"""For a small program of one's own: ranks on CPU cores that meet and part, and whose hang ends in one sentence."""

from __future__ import annotations

import os
import secrets
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import torch.distributed as dist

from common.command_line.parser import of_torchrun
from common.machine.devices import rank_device
from common.machine.ranks import barrier, from_rank_0, gathered
from common.running.failures import AFTER_A_HANG, advice_for, is_communication
from common.running.hangs import HangWatch, waiting_line
from common.running.interruptions import ignore_signals
from common.running.last_line import say_last
from common.training.distributed import process_group


@contextmanager
def watched_ranks(timeout_seconds: float) -> Iterator[int]:
    """This rank's number. Where an exchange takes longer than `timeout_seconds`, the last line of the console says who
    waits for whom, where, and since when; where torch raises an error that the lab knows, it says what to do."""
    place = rank_device("cpu", of_torchrun("LOCAL_RANK", 0))
    with process_group(place, timeout_seconds):
        hangs = HangWatch(from_rank_0(secrets.token_hex(4)), place, gathered(os.getpid()))
        try:
            yield place.rank
            barrier()  # who has gone could not say any more where it is
        except (RuntimeError, dist.DistError) as error:
            _explain(hangs, error)
            raise SystemExit(1) from None
        hangs.close()


def _explain(hangs: HangWatch, error: Exception) -> None:
    """One rank speaks; the others, whose connection breaks when it ends, have nothing to add."""
    ignore_signals()  # of torchrun's, once another rank has ended: by telling its stack, say
    message, advice = str(error).splitlines()[0].split(". ")[0], advice_for(str(error))
    # A rank whose time is up closes its connections: to the others a hang looks like the end of that rank.
    is_lost = is_communication(str(error))
    found = hangs.examine(waiting_line(traceback.extract_tb(error.__traceback__))) if is_lost else None
    try:
        if hangs.folder:
            (hangs.folder / "told").touch(exist_ok=False)
    except OSError:
        return
    said = f"hang: {found[0]}. {AFTER_A_HANG}" if found else f"failed: {message}. {advice}"
    say_last(said, hangs.folder)
