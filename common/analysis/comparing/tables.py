"""The runs of a folder as one table, a line each, which step 05 writes as `runs.csv`; and lines as tables of pandas.

`docs/tables.md` explains the columns, which carry their units.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from common.analysis.comparing.facts import OTHER_FACTS, group_facts, other_facts
from common.analysis.reading.runs import Run
from common.analysis.statistics.estimates import Estimate
from common.analysis.statistics.medians import Median

Line = dict[str, Any]


def runs_table(runs: Iterable[Run]) -> pd.DataFrame:
    """A line for each run, in the same order (docs/tables.md)."""
    return table_of(map(_run, runs))


def table_of(lines: Iterable[Line]) -> pd.DataFrame:
    """Lines as a table. Of Python's own objects: pandas would make 4 a 4.0 where another line has nothing."""
    return pd.DataFrame(list(lines), dtype=object)


def _run(run: Run) -> Line:
    record, world, config = run.record, run.record.world, run.record.config
    speed, times = run.seconds_per_sample, run.times
    return {
        "file": run.file,
        "run_id": record.run_id,
        "method": record.method,
        "status": record.status,
        "started_at": record.started_at,
        "finished_at": record.finished_at,
        "is_comparable": run.is_comparable,
        "failed_parity": record.failed_parity,
        "failed_check": run.failed_check,
        "devices": world.devices,
        "processes": world.processes,
        "device_kind": world.device_kind,
        "emulated": world.emulated,
        "shared": world.shared,
        "oversubscribed": world.oversubscribed,
        **group_facts(record),
        **dict.fromkeys(OTHER_FACTS),
        **other_facts(record),
        "host": record.environment.hostname,
        "seed": config.seed,
        "samples": sum(epoch.samples for epoch in record.epochs),
        "steps": times.steps + times.steps_left_out if times else None,
        "steps_left_out": times.steps_left_out if times else None,
        "measured_seconds": float(sum(run.epoch_seconds)),
        **with_ends("throughput_samples_per_second", speed.inverse() if speed else None),
        "data_wait_share": times.data_wait_share if times else None,
        "core_wait_share": run.core_wait_share,
        "steal_share": run.steal_share,
        "clock_difference_share": times.clock_difference_share if times else None,
        "load_average_1min": record.environment.load_average_1min,
        "flops_per_sample": record.flops_per_sample,
    }


def with_ends(name: str, figure: Estimate | Median | None) -> Line:
    """A value, and both ends of its interval as columns `<name>_low` and `<name>_high`; empty where there is none."""
    low, high = (figure and figure.interval) or (None, None)
    return {name: figure.value if figure else None, f"{name}_low": low, f"{name}_high": high}
