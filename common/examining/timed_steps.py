"""A whole step by itself: what experiments compare."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from common.machine.devices import LocalDevices
from common.machine.ranks import barrier
from common.measuring.clocks import mark, seconds_between
from common.training.batch import Batch
from common.training.training import Training


def timed_step(
    training: Training, devices: LocalDevices, batches: Sequence[Batch], around: AbstractContextManager | None = None
) -> float:
    """Seconds of one step that begins with idle devices, on all ranks at once, and ends when they are idle again."""
    with around or nullcontext():  # no_sync: the forward belongs inside, too
        devices.synchronize()
        barrier()
        before = mark(devices.device)
        training.step(batches)
        after = mark(devices.device)
        devices.synchronize()
    return round(seconds_between(before, after), 7)
