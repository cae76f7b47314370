"""For a small program of one's own: ranks on CPU cores that meet and part, and whose hang ends in one sentence."""

from __future__ import annotations

import os
import secrets
import signal
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import torch.distributed as dist

from common.hangs.hang_watch import AFTER_A_HANG, HangWatch, waiting_line
from common.machine.devices import barrier, from_rank_0, gathered, of_torchrun, rank_device
from common.running.failures import advice_for, is_communication, say_last
from common.training.distributed import process_group


@contextmanager
def watched_ranks(timeout_seconds: float) -> Iterator[int]:
    """This rank's number. Where an exchange takes longer than `timeout_seconds`, the last line of the console says who
    waits for whom, where, and since when; where torch raises an error that the lab knows, it says what to do."""
    devices = rank_device("cpu", of_torchrun("LOCAL_RANK", 0))
    with process_group(devices, timeout_seconds):
        hangs = HangWatch(from_rank_0(secrets.token_hex(4)), devices, gathered(os.getpid()))
        try:
            yield devices.rank
            barrier()  # who has gone could not say any more where it is
        except (RuntimeError, dist.DistError) as error:
            _explain(hangs, error)
            raise SystemExit(1) from None
        hangs.close()


def _explain(hangs: HangWatch, error: Exception) -> None:
    """One rank speaks; the others, whose connection breaks when it ends, have nothing to add."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun's, once another rank has ended: by telling its stack, say
    text = str(error)
    # A rank whose time is up closes its connections: to the others a hang looks like the end of that rank.
    line = waiting_line(traceback.extract_tb(error.__traceback__))
    hang = hangs.examine(line) if is_communication(text) else None
    try:
        if hangs.folder:
            (hangs.folder / "told").touch(exist_ok=False)
    except OSError:
        return
    message = f"failed: {text.splitlines()[0].split('. ')[0]}. {advice_for(text)}"
    say_last(f"hang: {hang[0]}. {AFTER_A_HANG}" if hang else message, hangs.folder)
