"""The answer at the head of the page: every method of the headline beside one device, and why."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from common.analysis.comparing.groups import Group
from common.analysis.comparing.representatives import oversubscribed_rows
from common.analysis.comparing.row_name import RowName
from common.analysis.comparing.rows import Row
from common.analysis.comparing.speedup import speedup
from common.analysis.judging.breakdown import breakdowns
from common.analysis.judging.cells import ratio_cell
from common.analysis.judging.run_checks import Check
from common.analysis.judging.verdicts import device_here, rate_of
from common.analysis.judging.why import why
from common.analysis.reading.raw_times import TENTHS
from common.analysis.sections.comparison import doubts_about_speed, runs_note, speed_cell
from common.analysis.statistics.estimates import Estimate, ratio
from common.content import Cell, Inline, Line, Message, Paragraph, Table, columns, message, not_available
from common.records import method_order

SHARE_OF_TIME = {"data_wait": 1.0, "warm_up": 1 / TENTHS}
"""Checks whose share is one of the measured time, or of that of the first tenth of the steps."""


@dataclass(frozen=True)
class Answer:
    """What a reader sees first."""

    rows: list[Row]
    """One device, then one row of each method."""
    table: Table
    why: list[Message]
    """A sentence each; empty without steps that were taken apart."""
    unsure: list[Message]
    """Pairs that could change places without what the marks name."""

    @property
    def marks(self) -> list[Paragraph]:
        """What the marks in the table mean, where there are any."""
        if not any(cell.marks for line in self.table.lines for cell in line.cells):
            return []
        parts: list = [Inline(message("page.marks"), self.table.checks)]
        if len(self.rows) > 1:
            unsure = message("page.order_open", pairs=self.unsure)
            parts.append(unsure if self.unsure else message("page.order_stands"))
        return [Paragraph(parts, "hint marks")]


def answer_of(group: Group) -> Answer | None:
    """The methods of the headline's group; None where every speed is withheld."""
    rows = group.representatives
    takers = oversubscribed_rows(group.rows)
    if takers and not any(row.speed_up for row in rows):
        rows = [*(row for row in rows if not row.is_parallel), *takers]
    rows = sorted(rows, key=lambda row: method_order(row.method))
    return Answer(rows, _table(rows), why(rows, breakdowns(group)), _unsure(rows)) if rows else None


def _unsure(rows: list[Row]) -> list[Message]:
    """Rows and the next faster ones that they might overtake, were they free of all the time that their marks name."""
    fastest_first = sorted((row for row in rows if row.throughput), key=lambda row: row.seconds_per_sample.value)
    return [
        message("answer.pair", one=_name_within(faster), other=_name_within(slower))
        for faster, slower in pairwise(fastest_first)
        if not _stays_ahead(speedup(faster, slower), doubts_about_speed(slower))
    ]


def _stays_ahead(quotient: Estimate, doubts: list[Check]) -> bool:
    if quotient.interval is None or any(doubt.id not in SHARE_OF_TIME for doubt in doubts):
        return False
    marked = sum(SHARE_OF_TIME[doubt.id] * doubt.share for doubt in doubts)
    return quotient.interval[0] * (1 - marked) > 1


def _table(rows: list[Row]) -> Table:
    on_gpu, has_energy = rows[0].on_gpu, any(row.energy for row in rows)
    memory = "answer_gpu_memory:memory" if on_gpu else "answer_process_memory:memory"
    unit = rows[0].record.config.unit
    energy = ["answer_energy_per_image:energy" if unit == "images" else "answer_energy:energy"] if has_energy else []
    shown = columns("method", "answer_speed:speed-up", memory, *energy)
    one = next((row for row in rows if not row.is_parallel and len(rows) > 1), None)
    lines = []
    for row in rows:
        cells = [_name(row), _speed(row, one), _memory(row, one)]
        lines.append(Line([*cells, _energy(row, one)] if has_energy else cells, row.method, row.name))
    return Table("answer", shown, lines, style="answers", checks="group-1-checks")


def name_here(row: Row) -> RowName | Message | None:
    """A row's name; of one device what it is here, as the headline says it."""
    return row.name if row.is_parallel else message("one.capital", one=device_here(row))


def _name_within(row: Row) -> RowName | Message | None:
    return row.name if row.is_parallel else device_here(row)


def _name(row: Row) -> Cell:
    """Its runs, and what keeps it from being scaling."""
    flags = [message(f"flag.{flag}") for flag in row.record.world.flags]
    return Cell(name_here(row), notes=(runs_note(row), *flags))


def _speed(row: Row, one: Row | None) -> Cell:
    doubts = doubts_about_speed(row)
    marks = [check.mark for check in doubts]
    if row is one:
        return Cell(1.0, "×", notes=(message("note.speed", speed=rate_of(row)),), marks=marks)
    if row.speed_up is None:
        return speed_cell(row, doubts)
    return ratio_cell(row.speed_up, "×", message("note.speed", speed=rate_of(row)), marks=marks)


def _memory(row: Row, one: Row | None) -> Cell:
    """On GPUs the fullest device, and what the others hold; on cores all processes together, for an emulated
    DataParallel has its replicas in one."""
    peaks, held = [peak.peak_bytes for peak in row.memory], max if row.on_gpu else sum
    if not peaks:
        return not_available(message("note.not_measured"))
    size = message("note.size", bytes=held(peaks))
    if row.on_gpu and max(peaks) > 1.01 * min(peaks):
        size = message("note.sizes", range=(min(peaks), max(peaks)))
    if one is None or not one.memory:
        return Cell(held(peaks), "GiB")
    return Cell(held(peaks) / held(peak.peak_bytes for peak in one.memory), "times", notes=(size,))


def _energy(row: Row, one: Row | None) -> Cell:
    if row.energy is None:
        return not_available(message("note.not_counted"))
    drawn = row.energy.per_thousand.scaled(1 / 1000)
    if one is None or not one.energy:
        return Cell(drawn.value, "J", interval=drawn.interval)
    joules = message("note.joules", joules=drawn.value)
    if row is one:
        return Cell(1.0, "times", notes=(joules,))
    times = ratio(row.energy.per_thousand, one.energy.per_thousand)
    return Cell(times.value, "times", interval=times.interval, notes=(joules,))
