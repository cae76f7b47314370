"""The comparison itself: a line for each row of a group."""

from __future__ import annotations

from dataclasses import replace

from common.analysis.comparing.facts import OPTIONS
from common.analysis.comparing.groups import Group
from common.analysis.comparing.rows import Row
from common.analysis.judging.cells import estimate_cell, ratio_cell
from common.analysis.judging.row_checks import failed_checks, pooled_checks
from common.analysis.judging.run_checks import Check
from common.analysis.statistics.estimates import Estimate
from common.content import NOTHING, WITHHELD, Cell, Line, Message, Table, columns, message, not_available

MAX_LINES = 60


def group_table(group: Group, checks: str = "") -> Table:
    """The table; its marks lead to `checks`. On CPU cores memory is that of processes, and the header says so; energy
    has a column where any device of the group counted it."""
    has_energy = any(row.device_energy for row in group.rows)
    rows = group.main_rows[:MAX_LINES]
    memory = "gpu_memory:memory" if group.on_gpu else "process_memory:memory"
    shown = columns("method", "devices", "global_batch", "epoch_time", memory, "throughput", "speed_up",
                    "scaling_efficiency", *(["energy"] if has_energy else []))  # fmt: skip
    lines = [Line(_cells(row, has_energy), row.method, row.name, row.is_valid) for row in rows]
    left_out = len(group.main_rows) - len(rows)
    return Table("comparison", shown, lines, left_out=left_out, style="comparison whole", checks=checks)


def in_brief(table: Table) -> Table:
    """The same without what charts and the whole table tell: intervals, notes beside numbers, and devices and batch,
    of which the names and the group's title say enough."""
    kept = [place for place, column in enumerate(table.columns) if column.id not in ("devices", "global_batch")]
    lines = [replace(line, cells=[_named(line), *(_bare(line.cells[at]) for at in kept[1:])]) for line in table.lines]
    return replace(table, columns=[table.columns[at] for at in kept], lines=lines, style="comparison")


def _named(line: Line) -> Cell:
    return Cell(line.name, notes=[note for note in line.cells[0].notes if note != line.name])


def _bare(cell: Cell) -> Cell:
    return cell if cell.number is None else replace(cell, interval=None, notes=())


def _cells(row: Row, has_energy: bool) -> list[Cell]:
    config = row.record.config
    each = message("note.each", count=config.per_device_batch_size)
    return [
        _method(row),
        Cell(row.devices, "count"),
        Cell(config.global_batch_size, "count", notes=(each,)),
        estimate_cell(row.epoch_time, "s") if row.epoch_time else WITHHELD,
        _memory(row),
        speed_cell(row, doubts_about_speed(row)),
        _relative(row, row.speed_up, "×"),
        _efficiency(row),
        *([_energy(row)] if has_energy else []),
    ]


def doubts_about_speed(row: Row) -> list[Check]:
    """The failed checks about a row's speed, but for the one that its name words already: emulated, shared."""
    return [check for check in failed_checks(pooled_checks(row)) if check.id != "devices"]


def _method(row: Row) -> Cell:
    flags = row.record.world.flags
    if any(run.record.resumed for run in row.runs):
        flags.append("resumed")
    if any(run.record.world.restarts for run in row.runs):
        flags.append("restarted")
    own_name = (row.name,) if row.name.letter or row.name.nodes > 1 else ()
    notes = (
        *own_name,
        runs_note(row),
        *(message(f"flag.{flag}") for flag in flags),
        *map(_variant, row.variant.items()),
    )
    return Cell(message(f"method.{row.method}"), notes=notes)


def _variant(fact: tuple) -> Message:
    name, value = fact
    said = message(f"fact_value.{name}", value=value)
    return message("note.options", value=said) if name == OPTIONS else message("note.fact", fact=name, value=said)


def runs_note(row: Row) -> Message:
    """How often the row was run."""
    return message("note.runs" if len(row.runs) > 1 else "note.run", count=len(row.runs))


def speed_cell(row: Row, doubts: list[Check] | None = None) -> Cell:
    """A row's throughput, with the checks that cast doubt on it: all that failed, unless others are given."""
    marks = [check.mark for check in (failed_checks(pooled_checks(row)) if doubts is None else doubts)]
    if row.throughput is None:
        return Cell(message("cell.withheld"), notes=(message(f"note.not_valid_{row.failed_check}"),), marks=marks)
    return estimate_cell(row.rate, row.rate_form, marks=marks)


def _relative(row: Row, estimate: Estimate | None, form: str) -> Cell:
    if estimate is not None:
        return ratio_cell(estimate, form)
    if not row.is_valid:
        return WITHHELD
    return not_available(message("note.no_run_on_one_device")) if row.is_parallel else NOTHING


def _efficiency(row: Row) -> Cell:
    if row.speed_up is not None and not row.true_devices:
        world, cores = row.record.world, row.record.environment.cpu_cores
        shares = message("note.shares_a_gpu")
        return not_available(shares if world.shared else message("note.on_cores", devices=world.devices, cores=cores))
    return _relative(row, row.efficiency, "%")


def _memory(row: Row) -> Cell:
    if not row.memory:
        return not_available(message("note.not_measured"))
    first, others = row.memory[0].peak_bytes, [device.peak_bytes for device in row.memory[1:]]
    if not others:
        all_in_one = row.devices > 1 and not row.on_gpu
        return Cell(first, "GiB", notes=(message("note.all_in_one"),) if all_in_one else ())
    mean = sum(others) / len(others)
    imbalance, total = message("note.imbalance", ratio=first / mean), message("note.in_all", bytes=first + sum(others))
    return Cell(first, "GiB", beside=mean, notes=(imbalance if row.on_gpu else total,))


def _energy(row: Row) -> Cell:
    energy = row.energy
    if energy is None:
        return not_available(message("note.not_counted_everywhere" if row.device_energy else "note.not_counted"))
    idle = (message("note.idle", share=energy.idle_share),) if energy.idle_share is not None else ()
    drawn = energy.per_thousand
    return Cell(drawn.value, "J", interval=drawn.interval, notes=idle)
