"""Methods over batches: configurations that differ in method, devices and batch per device alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from common.analysis.comparing.facts import KEY, Facts, group_facts, other_facts
from common.analysis.comparing.rows import Row
from common.analysis.comparing.speed_ratios import times_as_fast
from common.analysis.reading.runs import Run
from common.analysis.statistics.estimates import Estimate
from common.records import METHODS, Method

SAME = ("machine", "torch", "driver", "epochs", "loader_workers_per_device", "momentum", "weight_decay")
"""Beside a group's key. An epoch's samples may differ: larger batches take more of them for as many steps."""
MIN_BATCHES = 3


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
        """Throughput of one method over that of the other, for each batch that both ran with."""
        over, under = self.rows.get(method, {}), self.rows.get(other, {})
        return {batch: times_as_fast(over[batch], under[batch]) for batch in over if batch in under}


def batch_series(rows: Sequence[Row], runs: Sequence[Run]) -> list[BatchSeries]:
    """Every series of at least three batches of one device and of a method on several, that of most batches first.

    `runs` are all runs, for those that did not fit into memory.
    """
    alike: dict[tuple, list[Row]] = {}
    for row in rows:
        if not row.options and row.is_valid and row.true_devices and row.record.world.nodes == 1:
            alike.setdefault(_settings(row.runs[-1]), []).append(row)
    failed: dict[tuple, list[Run]] = {}
    for run in runs:
        if run.record.failure and run.record.failure.kind == "out_of_memory":
            failed.setdefault(_settings(run), []).append(run)
    found = [_series(of_settings, failed.get(settings, [])) for settings, of_settings in alike.items()]
    return sorted(filter(None, found), key=lambda series: len(series.batches), reverse=True)


def _settings(run: Run) -> tuple:
    facts = {**group_facts(run.record), **other_facts(run.record)}
    return tuple(facts.get(name) for name in (*KEY, *SAME))


def _series(rows: Sequence[Row], failed: Sequence[Run]) -> BatchSeries | None:
    counts: dict[int, set[int]] = {}
    for row in rows:
        if row.devices > 1:
            counts.setdefault(row.devices, set()).add(row.record.config.per_device_batch_size)
    devices = max(counts, key=lambda count: (len(counts[count]), count), default=0)
    by_method: dict[Method, dict[int, Row]] = {}
    for row in sorted(rows, key=lambda row: (row.record.config.per_device_batch_size, row.rounds)):
        if row.devices == (devices if row.is_parallel else 1):
            by_method.setdefault(row.method, {})[row.record.config.per_device_batch_size] = row
    several = {batch for method, found in by_method.items() if METHODS[method].is_parallel for batch in found}
    if len(several & set(by_method.get("single", {}))) < MIN_BATCHES:
        return None
    limits: dict[Method, int] = {}
    for run in failed:
        config, method = run.record.config, run.record.method
        if run.record.world.devices == (devices if METHODS[method].is_parallel else 1):
            limits[method] = min(config.per_device_batch_size, limits.get(method, config.per_device_batch_size))
    return BatchSeries(group_facts(rows[0].record), devices, by_method, limits)
