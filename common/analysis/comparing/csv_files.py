"""What step 05 writes for pandas: every run as a line of runs.csv, every configuration as one of comparison.csv.

Columns carry their units; estimates have both ends of their intervals. `docs/tables.md` explains the columns.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from common.analysis.comparing.facts import BATCH, GROUP_KEY, OPTIONS, OTHER_FACTS, configuration
from common.analysis.comparing.groups import Group
from common.analysis.comparing.rows import Row
from common.analysis.comparing.utilisation import mfu_of
from common.analysis.reading.runs import Run
from common.analysis.reading.step_profile import PHASES, StepProfile
from common.analysis.statistics.estimates import Estimate
from common.analysis.statistics.medians import Median
from common.formats import without_controls
from common.records.disk import write_bytes

Line = dict[str, Any]
FACT_COLUMNS = sorted(OTHER_FACTS, key=lambda name: name in ("campaign", OPTIONS))
"""These two came last, and what is new comes after what was there."""


def table_of(lines: Iterable[Line]) -> pd.DataFrame:
    """Lines as a table. Of Python's own objects: pandas would make 4 a 4.0 where another line has nothing."""
    return pd.DataFrame(list(lines), dtype=object)


def run_line(run: Run) -> Line:
    """A run as a line of runs.csv, by column."""
    record, facts = run.record, configuration(run.record)
    speed, times = run.seconds_per_sample, run.times
    return {
        "file": run.file,
        **fields_of(record, "run_id", "method", "status", "started_at", "finished_at"),
        "is_comparable": run.is_comparable,
        "failed_parity": record.failed_parity,
        "failed_check": run.failed_check,
        **fields_of(record.world, "devices", "processes", "device_kind", "emulated", "shared", "oversubscribed"),
        **{name: facts[name] for name in (*GROUP_KEY, *BATCH.values(), *FACT_COLUMNS)},
        "host": record.environment.hostname,
        "seed": record.config.seed,
        "samples": sum(epoch.samples for epoch in record.epochs),
        "steps": times.steps + times.steps_left_out if times else None,
        **fields_of(times, "steps_left_out"),
        "measured_seconds": float(sum(run.epoch_seconds)),
        **with_ends("throughput_samples_per_second", speed.inverse() if speed else None),
        **fields_of(times, "data_wait_share", "core_wait_share", "steal_share", "clock_difference_share"),
        "load_average_1min": record.environment.load_average_1min,
        "flops_per_sample": record.flops_per_sample,
    }


def fields_of(thing: object, *names: str) -> Line:
    """Some of its fields as columns of their own names; empty where there is no such thing."""
    return {name: None if thing is None else getattr(thing, name) for name in names}


def with_ends(name: str, figure: Estimate | Median | None) -> Line:
    """A value, and both ends of its interval as columns `<name>_low` and `<name>_high`; empty where there is none."""
    low, high = (figure and figure.interval) or (None, None)
    return {name: figure.value if figure else None, f"{name}_low": low, f"{name}_high": high}


def of_side(side: str, row: Row) -> Line:
    """Speed, peak memory and files of a row in a table of pairs; `side` is `before` or `after`."""
    return {
        **with_ends(f"throughput_{side}_samples_per_second", row.throughput),
        f"peak_memory_{side}_bytes": max((peak.peak_bytes for peak in row.memory), default=None),
        f"files_{side}": " ".join(run.file for run in row.runs),
    }


BEGINNINGS = {
    "comparison.csv": ("group", "scaling", "row", "method"),
    "runs.csv": ("file", "run_id", "method", "status"),
    "one_change.csv": ("fact", "before", "after", "method"),
    "against.csv": ("row", "method", "devices", "model"),
    "predictions.csv": ("group", "method", "devices", "nodes"),
}
"""The first columns of every table, by which step 05 knows its own."""
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def comparison_table(groups: Sequence[Group], residuals: Mapping[Row, Median]) -> pd.DataFrame:
    """Every row of every group, the groups in the order and with the numbers of the page.

    `residuals`: seconds of a step that no experiment isolates, where that is known.
    """
    lines = [
        _line(number, group, row) | with_ends("residual_seconds", residuals.get(row))
        for number, group in enumerate(groups, start=1)
        for row in group.rows
    ]
    return table_of(lines)


def _line(number: int, group: Group, row: Row) -> Line:
    world, config, energy = row.record.world, row.record.config, row.energy
    mfu, facts, peaks = mfu_of(row), configuration(row.record), [peak.peak_bytes for peak in row.memory]
    return {
        "group": number,
        "scaling": group.scaling,
        "row": str(row.name),
        **fields_of(row, "method", "devices"),
        "runs": len(row.runs),
        **fields_of(row, "is_valid", "failed_check"),
        **fields_of(world, "emulated", "shared", "oversubscribed"),
        "compared_with": str(row.baseline.name) if row.baseline else None,
        **{name: value for name, value in group.key.items() if not name.endswith("batch_size")},
        **fields_of(config, "global_batch_size", "per_device_batch_size"),
        **with_ends("throughput_samples_per_second", row.throughput),
        **with_ends("epoch_time_seconds", row.epoch_time),
        **with_ends("speed_up", row.speed_up),
        **with_ends("scaling_efficiency", row.efficiency),
        "peak_memory_first_bytes": peaks[0] if peaks else None,
        "peak_memory_others_mean_bytes": sum(peaks[1:]) / len(peaks[1:]) if len(peaks) > 1 else None,
        "peak_memory_sum_bytes": sum(peaks) if peaks else None,
        "static_memory_first_bytes": row.memory[0].static_bytes if peaks else None,
        **with_ends("energy_joules_per_thousand_samples", energy.per_thousand if energy else None),
        "energy_joules_per_epoch": energy.joules_per_epoch if energy else None,
        "energy_idle_share": energy.idle_share if energy else None,
        "flops_per_sample": row.record.flops_per_sample,
        **with_ends("mfu", mfu if isinstance(mfu, Estimate) else None),
        "data_wait_share": row.data_wait_share,
        **_profile(row),
        **{name: facts[name] for name in FACT_COLUMNS},
        "host": row.record.environment.hostname,
        "files": " ".join(run.file for run in row.runs),
    }


def _profile(row: Row) -> Line:
    profile = row.profile or StepProfile(ranks=())
    phases = profile.slowest.phases if row.profile else {}
    replicated, forward = profile.replicated, profile.threads_of_forward
    figures = {
        "step": profile.slowest.step if row.profile else None,
        **{name.replace(" ", "_"): phases.get(name) for name in PHASES},
        "exposed": profile.exposed, "wrapper_cost": profile.wrapper_cost,
        "overlap_gain": profile.overlap_gain, "whole_exchange": profile.whole_exchange,
        "new_threads_cost": replicated.threads_cost, "new_replicas_cost": replicated.replicas_cost,
        "threads_with_replicas": replicated.interaction,
        "new_thread_cost": profile.new_thread_cost if forward and forward.timed == "step" else None,
    }  # fmt: skip
    lines = [with_ends(f"{name}_seconds", median) for name, median in figures.items()]
    return {column: value for line in lines for column, value in line.items()}


def write_tables(folder: Path, tables: Mapping[str, pd.DataFrame]) -> tuple[list[Path], list[Path]]:
    """Write tables into `folder` by their names, each whole or not at all. Raises OSError.

    Returns the paths of those written, and of files and links of these names that are no tables of step 05: they are
    left alone. A table without columns has nothing to say: it is not written, and one of earlier records is taken away.
    """
    written, foreign = [], []
    for name, table in tables.items():
        path = folder / name
        if (path.is_file() or path.is_symlink()) and not _is_table(path, name, table):
            foreign.append(path)
        elif len(table.columns):
            # Text that a spreadsheet would take for a formula gets an apostrophe before it, as OWASP advises.
            harmless = table_of({name: f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
                                 for name, value in line.items()} for line in table.to_dict("records"))  # fmt: skip
            write_bytes(path, without_controls(harmless.to_csv(index=False)).encode(errors="replace"))
            written.append(path)
        else:
            path.unlink(missing_ok=True)
    return written, foreign


def _is_table(path: Path, name: str, table: pd.DataFrame) -> bool:
    """Whether step 05 has written a file, now or in an earlier version: by its header."""
    if not path.is_file():  # a link to nowhere, say
        return False
    with open(path, encoding="utf-8", errors="replace") as file:
        header = file.readline(2**16).rstrip("\n").split(",")
    known = set(table.columns)
    return header == [""] or (tuple(header[:4]) == BEGINNINGS[name] and (not known or set(header) <= known))
