"""How close a run comes to what step 01 measured of the machine's parts: arithmetic, and the exchange of gradients.

Nothing is assumed: a rate comes from this very device model in this very precision, or there is none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from common.analysis.comparing.groups import Row
from common.analysis.statistics.estimates import Estimate
from common.formats import scaled
from common.records import AllReduceTime, Precision, Probes

Answer = tuple[Estimate | None, str]
"""A number, or None and the reason for it."""


def model_flops_utilisation(
    flops_per_sample: float, samples_per_second: float, devices: int, flops_per_second: float
) -> float:
    """MFU: arithmetic that the model needs / arithmetic that the devices could do in that time. 1 is the limit.

    Source: Chowdhery et al., PaLM, section 4.1 (arXiv 2204.02311), with the measured matmul rate for the maker's peak.
    """
    return flops_per_sample * samples_per_second / (devices * flops_per_second)


def all_reduce_seconds(times: Iterable[AllReduceTime], size: int) -> float | None:
    """Seconds for `size` bytes, between the measured sizes by log-log interpolation; None outside of them.

    A straight line through latency and bandwidth misses measured tables by up to a fifth; between neighbours it is
    close. Times without a speed (a wrong sum) do not count.
    """
    known = sorted((time.bytes, time.seconds) for time in times if time.seconds)
    if not known or not known[0][0] <= size <= known[-1][0]:
        return None
    sizes, seconds = np.log(np.asarray(known)).T
    return math.exp(np.interp(math.log(size), sizes, seconds))


def matmul_rate(probed: Sequence[Probes], device_model: str, precision: Precision) -> float | None:
    """The newest measured rate of this device model in this precision, in FLOP/s; `probed` has the newest last."""
    for probes in reversed(probed):
        for rate in probes.matmul:
            if (rate.device_model, rate.precision) == (device_model, precision):
                return rate.flops_per_second
    return None


def mfu_of(row: Row, probed: Sequence[Probes]) -> Answer:
    """MFU of a row, with its throughput's interval."""
    flops, model = row.record.flops_per_sample, row.record.world.device_model
    precision = row.record.config.precision
    if row.throughput is None:
        return None, "speed withheld"
    if not row.true_devices:
        return None, "devices are shared"
    if not flops:
        return None, "operations were not counted"
    rate = matmul_rate(probed, model, precision)
    if rate is None:
        return None, f"step 01 has no {precision} matmul rate of {model} here"
    return row.throughput.times(model_flops_utilisation(flops, 1.0, row.devices, rate)), f"of {scaled(rate, 'FLOP/s')}"


def exchange_prediction(row: Row, probed: Sequence[Probes], messages: Sequence[int]) -> tuple[float | None, str]:
    """Seconds that the row's ranks need for these messages, one after the other, by step 01's curve; or the reason."""
    world = row.record.world
    if world.processes < 2:
        return None, "one process: nothing to exchange"
    if world.nodes > 1:
        return None, "step 01 measures within one host"
    for probes in reversed(probed):
        curve = probes.all_reduce
        if curve is None or (curve.ranks, curve.backend) != (world.processes, world.backend):
            continue
        if world.device_model not in {rate.device_model for rate in (*probes.matmul, *probes.memory)}:
            continue
        parts = [all_reduce_seconds(curve.times, message) for message in messages]
        if not parts or None in parts:
            sizes = [time.bytes for time in curve.times if time.seconds] or [0]
            return None, f"outside the measured {scaled(min(sizes), 'B')} to {scaled(max(sizes), 'B')}"
        return sum(parts), f"{len(parts)} message{'s' if len(parts) > 1 else ''}"
    return None, f"step 01 has no all-reduce of {world.processes} {world.backend} ranks here"
