"""A whole step by itself: what experiments compare."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from time import perf_counter

from common.machine.devices import LocalDevices
from common.machine.ranks import barrier, gathered
from common.measuring.clocks import gpu_sleep, mark, seconds_between
from common.training.batch import Batch
from common.training.training import Training


def timed_step(
    training: Training,
    devices: LocalDevices,
    batches: Sequence[Batch],
    around: AbstractContextManager | None = None,
    *,
    lead_seconds: float = 0.0,
) -> float:
    """Seconds of one step that all ranks begin at once, and that ends when the devices are idle again.

    It begins with idle devices; or, on a GPU, `lead_seconds` after the host has begun to launch it: so far ahead.
    """
    with around or nullcontext():  # no_sync: the forward belongs inside, too
        devices.synchronize()
        barrier()
        if lead_seconds and devices.kind == "cuda":
            gpu_sleep(devices.device, lead_seconds)
        before = mark(devices.device)
        training.step(batches)
        after = mark(devices.device)
        devices.synchronize()
    return round(seconds_between(before, after), 7)


def settled_lead(
    training: Training,
    devices: LocalDevices,
    batches: Sequence[Batch],
    steps: int,
    around: AbstractContextManager | None = None,
) -> float:
    """Take `steps` steps, one right after the other. How far the host is then ahead: seconds until the devices are
    done, on the rank where it is least. 0 on CPU devices."""
    devices.synchronize()
    barrier()
    with around or nullcontext():
        for _ in range(steps):
            training.step(batches)
    launched = perf_counter()
    devices.synchronize()
    lead = perf_counter() - launched if devices.kind == "cuda" else 0.0
    return round(min(gathered(lead)), 7)
