"""At which batch DataParallel is as fast as one device: by the measured runs, and by what they take at least.

A step takes as long as the host needs to launch it, or as long as the device is busy with it, whichever is longer. The
first hardly depends on the batch, the second grows with it. DP on N devices is as fast as one where its step takes N
times as long, T_dp(b) = N T_1(b), with T_dp = max(H, D(b)), T_1 = max(h, D(b)), and D(b) = d_0 + d_1 b.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from common.analysis.comparing.batches import BatchSeries
from common.analysis.statistics.medians import Median


@dataclass(frozen=True)
class Predicted:
    """The batch per device from which DP is faster than one device; 0 where it is at every batch."""

    batch: float
    low: float
    high: float
    """By the ends of the interval of the host's time."""
    host: Median
    """H: what DP's host needs to launch a step, in seconds, at its smallest batch that was taken apart."""
    host_of_one: float
    """h: the same of one device, in seconds."""
    seconds_per_sample: float
    """d_1: how much longer one device is busy for each sample more."""


def predicted_crossing(series: BatchSeries) -> Predicted | None:
    """From DP's host time at one batch and one device's busy time at several; None where these were not measured."""
    one = {batch: row.anatomy for batch, row in series.rows.get("single", {}).items() if row.anatomy}
    busy = {batch: found.busy_step.value for batch, found in one.items() if found.busy_step}
    hosts = [found.host_step for found in one.values() if found.host_step]
    anatomies = [row.anatomy for row in series.rows.get("dp", {}).values() if row.anatomy]
    of_dp = [found.host_step for found in anatomies if found.host_step]
    if len(busy) < 2 or not hosts or not of_dp:
        return None
    slope, start = map(float, np.polyfit(list(busy), list(busy.values()), 1))
    if slope <= 0:
        return None

    def crossing(host: float) -> float:
        reached = host / series.devices
        return 0.0 if hosts[0].value >= reached else max(0.0, (reached - start) / slope)

    low, high = of_dp[0].bounds
    return Predicted(
        batch=crossing(of_dp[0].value),
        low=crossing(low),
        high=crossing(high),
        host=of_dp[0],
        host_of_one=hosts[0].value,
        seconds_per_sample=slope,
    )


@dataclass(frozen=True)
class Measured:
    """Where the measured ratio crosses 1."""

    batch: float
    """By a straight line between the logarithms of batch and ratio; 0: faster at every batch; inf: at none."""
    below: int
    above: int
    """The batches on both sides."""


def measured_crossing(series: BatchSeries) -> Measured | None:
    """By the values alone, whatever their intervals; None without runs of both at some batch."""
    ratios = {batch: ratio.value for batch, ratio in sorted(series.ratios("dp", "single").items())}
    if not ratios:
        return None
    slower = [batch for batch, ratio in ratios.items() if ratio <= 1]
    first, last = min(ratios), max(ratios)
    if not slower or slower[-1] == last:
        return Measured(math.inf if slower else 0.0, first, last)
    (below, above), *_ = [pair for pair in pairwise(ratios) if pair[0] == slower[-1]]
    share = -math.log(ratios[below]) / math.log(ratios[above] / ratios[below])
    return Measured(math.exp(math.log(below) + share * math.log(above / below)), below, above)
