"""The comparison table, cell by cell. Console and page both show these cells, so that they cannot disagree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from common.analysis.comparing.energy import device_energy, energy_of
from common.analysis.comparing.groups import Group, Row
from common.analysis.comparing.labels import LONG_NAMES
from common.analysis.comparing.peak_memory import memory_of
from common.analysis.judging.checks import Check
from common.analysis.statistics.estimates import Estimate
from common.formats import gib, percent, rate, scaled, seconds, times


@dataclass(frozen=True)
class Cell:
    """What stands in one place of the table."""

    text: str
    interval: str = ""
    """95 % interval, or why there is none."""
    note: str = ""
    value: float | None = None
    """The number behind the text, unrounded."""
    warnings: tuple[Check, ...] = ()
    """Checks that failed and that this number depends on."""


@dataclass(frozen=True)
class Column:
    """One column: its header, its anchor in the glossary, and how a row fills it."""

    header: str
    anchor: str
    cell: Callable[[Row], Cell]


def columns(group: Group) -> list[Column]:
    """The table's columns. On CPU cores memory is that of processes, and the header says so; energy has a column where
    any device of the group counted it."""
    on_gpu = group.rows[0].record.world.device_kind == "cuda"
    memory = "GPU memory (device 0 / others)" if on_gpu else "Process memory (rank 0 / others)"
    found = [
        Column("Method", "method", _method),
        Column("Devices", "devices", lambda row: Cell(str(row.devices), value=row.devices)),
        Column("Global batch", "global-batch", _batch),
        Column("Time / epoch", "epoch-time", lambda row: _measured(row, row.epoch_time, seconds)),
        Column(memory, "memory", _memory),
        Column("Throughput", "throughput", _throughput),
        Column("Speed-up", "speed-up", lambda row: _relative(row, row.speed_up, times)),
        Column("Scaling efficiency", "scaling-efficiency", _efficiency),
    ]
    if any(device_energy(row) for row in group.rows):
        found.append(Column("Energy / 1,000 samples", "energy", _energy))
    return found


def interval_text(estimate: Estimate, form: Callable[[float], str]) -> str:
    """`37.0 – 41.3`, without the unit, which stands beside the value."""
    if estimate.interval is None:
        return "no interval: fewer than 4 steps"
    low, high = (form(end).split(" ")[0] for end in estimate.interval)
    return f"{low} – {high}"


def troubles(row: Row, spoils: str) -> tuple[Check, ...]:
    """Checks of this row and of its runs that did not hold and that spoil the named number; one of each name."""
    found = [check for run in reversed(row.runs) for check in run.checks] + row.checks
    return tuple({check.name: check for check in found if check.is_trouble and check.spoils == spoils}.values())


def _method(row: Row) -> Cell:
    runs = f"{len(row.runs)} runs" if len(row.runs) > 1 else "1 run"
    flags = [flag for flag in ("emulated", "shared", "oversubscribed") if getattr(row.record.world, flag)]
    if any(run.record.resumed for run in row.runs):
        flags.append("resumed")
    if any(run.record.world.restarts for run in row.runs):
        flags.append("restarted")
    return Cell(LONG_NAMES[row.method], note=", ".join([runs, *flags]))


def _batch(row: Row) -> Cell:
    config = row.record.config
    return Cell(
        f"{config.global_batch_size:,}",
        note=f"{config.per_device_batch_size:,} each",
        value=config.global_batch_size,
    )


def _measured(row: Row, estimate: Estimate | None, form: Callable[[float], str], warn: bool = False) -> Cell:
    warnings = troubles(row, "speed") if warn else ()
    if estimate is None:
        return Cell("withheld", note="not valid" if warn else "", warnings=warnings)
    return Cell(form(estimate.value), interval_text(estimate, form), value=estimate.value, warnings=warnings)


def _throughput(row: Row) -> Cell:
    return _measured(row, row.throughput, rate, warn=True)


def _relative(row: Row, estimate: Estimate | None, form: Callable[[float], str]) -> Cell:
    if estimate is not None:
        return Cell(form(estimate.value), interval_text(estimate, form), value=estimate.value)
    if not row.is_valid:
        return Cell("withheld")
    return Cell("–") if row.method == "single" else Cell("n/a", note="no run on one device")


def _efficiency(row: Row) -> Cell:
    if row.speed_up is not None and not row.true_devices:
        world = row.record.world
        note = "shares a GPU" if world.shared else f"{world.devices} on {row.record.environment.cpu_cores} cores"
        return Cell("n/a", note=note)
    return _relative(row, row.efficiency, percent)


def _memory(row: Row) -> Cell:
    memory = memory_of(row)
    if not memory:
        return Cell("n/a", note="not measured", warnings=troubles(row, "memory"))
    first, others = memory[0].peak_bytes, [device.peak_bytes for device in memory[1:]]
    if not others:
        held = row.record.world.devices > 1 and row.record.world.device_kind == "cpu"
        return Cell(gib(first), note="all replicas in one" if held else "", value=first)
    mean = sum(others) / len(others)
    if row.record.world.device_kind == "cpu":
        return Cell(f"{gib(first)} / {gib(mean)}", note=f"{gib(first + sum(others))} in all", value=first)
    return Cell(f"{gib(first)} / {gib(mean)}", note=f"imbalance {first / mean:.2f}", value=first)


def _energy(row: Row) -> Cell:
    energy = energy_of(row)
    if energy is None:
        return Cell("n/a", note="not counted on every device" if device_energy(row) else "not counted")
    idle = f"idle {percent(energy.idle_share)}" if energy.idle_share is not None else ""
    per_thousand = energy.joules_per_thousand_samples
    return Cell(scaled(per_thousand, "J"), note=idle, value=per_thousand)
