"""From which batch per device on several devices pay: methods over batches, and where DataParallel passes one device.

A step takes as long as the host needs to launch it, or as long as the device is busy with it, whichever is longer. The
first hardly depends on the batch, the second grows with it. DP on N devices is as fast as one where its step takes N
times as long, T_dp(b) = N T_1(b), with T_dp = max(H, D(b)), T_1 = max(h, D(b)), and D(b) = d_0 + d_1 b.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from common.analysis.comparing.facts import GROUP_KEY, Facts, configuration, group_key, grouped
from common.analysis.comparing.rows import Row
from common.analysis.comparing.speedup import speedup
from common.analysis.reading.runs import Run
from common.analysis.statistics.estimates import Estimate
from common.analysis.statistics.medians import Median
from common.records import METHODS, Method

SAME = ("machine", "torch", "driver", "epochs", "loader_workers_per_device", "momentum", "weight_decay")
"""Beside a group's key. An epoch's samples may differ: larger batches take more of them for as many steps."""
MIN_BATCHES = 3


@dataclass(frozen=True)
class Predicted:
    """The batch per device from which DP is faster than one device; 0 where it is at every batch."""

    batch: float
    low: float
    high: float
    """By the ends of the interval of the host's time."""
    host: Median
    """H: what DP's host needs to launch a step, in seconds, at its smallest batch that was profiled."""
    host_of_one: float
    """h: the same of one device, in seconds."""
    seconds_per_sample: float
    """d_1: how much longer one device is busy for each sample more."""


@dataclass(eq=False)
class BatchSeries:
    """One device and the methods on `devices` of them, each over batches per device."""

    key: Facts
    devices: int
    rows: dict[Method, dict[int, Row]]
    """By method and batch per device, the smallest batch first."""
    out_of_memory: dict[Method, int]
    """The smallest batch per device that did not fit."""

    @cached_property
    def all_rows(self) -> set[Row]:
        """The rows of all methods."""
        return {row for rows in self.rows.values() for row in rows.values()}

    @cached_property
    def batches(self) -> list[int]:
        """Every batch that some method ran with."""
        return sorted({batch for rows in self.rows.values() for batch in rows})

    def ratios(self, method: Method, other: Method) -> dict[int, Estimate]:
        """Throughput of one method over that of the other, for each batch that both ran with, the smallest first."""
        over, under = self.rows.get(method, {}), self.rows.get(other, {})
        return {batch: speedup(over[batch], under[batch]) for batch in over if batch in under}

    @cached_property
    def predicted(self) -> Predicted | None:
        """Where DP catches up with one device, by DP's host time at one batch and one device's busy time at several;
        None where these were not measured."""
        one = {batch: row.profile for batch, row in self.rows.get("single", {}).items() if row.profile}
        busy = {batch: profile.busy_step.value for batch, profile in one.items() if profile.busy_step}
        hosts = [profile.host_step for profile in one.values() if profile.host_step]
        profiles = [row.profile for row in self.rows.get("dp", {}).values() if row.profile]
        of_dp = [profile.host_step for profile in profiles if profile.host_step]
        if len(busy) < 2 or not hosts or not of_dp:
            return None
        slope, start = map(float, np.polyfit(list(busy), list(busy.values()), 1))
        if slope <= 0:
            return None

        def crossing(host: float) -> float:
            reached = host / self.devices
            return 0.0 if hosts[0].value >= reached else max(0.0, (reached - start) / slope)

        host = of_dp[0]
        low, high = map(crossing, host.bounds)
        return Predicted(crossing(host.value), low, high, host, host_of_one=hosts[0].value, seconds_per_sample=slope)

    @cached_property
    def measured(self) -> tuple[float, int, int] | None:
        """Where it does so, and the batches on both sides, by the values alone, whatever their intervals; None without
        runs of both at some batch.

        By a straight line between the logarithms of batch and ratio. 0: faster at every batch; inf: at none.
        """
        ratios = {batch: ratio.value for batch, ratio in self.ratios("dp", "single").items()}
        if not ratios:
            return None
        slower = [batch for batch, ratio in ratios.items() if ratio <= 1]
        first, last = min(ratios), max(ratios)
        if not slower or slower[-1] == last:
            return math.inf if slower else 0.0, first, last
        below, above = next(pair for pair in pairwise(ratios) if pair[0] == slower[-1])
        batch = np.interp(0, np.log([ratios[below], ratios[above]]), np.log([below, above]))
        return math.exp(batch), below, above


def batch_series(rows: Sequence[Row], runs: Sequence[Run]) -> list[BatchSeries]:
    """Every series of at least three batches of one device and of a method on several, that of most batches first.

    `runs` are all runs, for those that did not fit into memory.
    """

    def settings(one: Row | Run) -> tuple:
        facts = configuration(one.record)
        return tuple(facts[name] for name in (*GROUP_KEY, *SAME))

    usable = [row for row in rows
              if not row.options and row.is_valid and row.true_devices and row.record.world.nodes == 1]  # fmt: skip
    too_large = [run for run in runs if run.record.failure and run.record.failure.kind == "out_of_memory"]
    failed = grouped(too_large, settings)
    candidates = [_series(alike, failed.get(key, [])) for key, alike in grouped(usable, settings).items()]
    return sorted(filter(None, candidates), key=lambda series: len(series.batches), reverse=True)


def _batch(one: Row | Run) -> int:
    return one.record.config.per_device_batch_size


def _series(rows: Sequence[Row], failed: Sequence[Run]) -> BatchSeries | None:
    """On the number of devices that was run with most batches; of equals the largest."""
    batches = {count: set(map(_batch, alike)) for count, alike in grouped(rows, lambda row: row.devices).items()}
    devices = max(batches.keys() - {1}, key=lambda count: (len(batches[count]), count), default=0)

    def fits(one: Row | Run) -> bool:
        return one.record.world.devices == (devices if METHODS[one.record.method].is_parallel else 1)

    by_rounds = sorted(filter(fits, rows), key=lambda row: (_batch(row), row.rounds))
    of_methods = grouped(by_rounds, lambda row: row.method)
    by_method = {method: {_batch(row): row for row in alike} for method, alike in of_methods.items()}
    if len(batches.get(devices, set()) & set(by_method.get("single", {}))) < MIN_BATCHES:
        return None
    too_large = grouped(filter(fits, failed), lambda run: run.record.method)
    limits = {method: min(map(_batch, alike)) for method, alike in too_large.items()}
    return BatchSeries(group_key(rows[0].record), devices, by_method, limits)
