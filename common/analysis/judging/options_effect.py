"""What each of DDP's options does here: a row against the one that differs in nothing but its default options."""

from __future__ import annotations

from bisect import bisect
from dataclasses import dataclass

from common.analysis.comparing.facts import shorten, terms
from common.analysis.comparing.groups import Group, Row, in_turn, times_as_fast
from common.analysis.comparing.peak_memory import memory_of
from common.analysis.judging.verdict import span
from common.analysis.page.sheets import Sheet
from common.analysis.page.table import Cell, interval_text, troubles
from common.analysis.statistics.estimates import Estimate, distinguishable
from common.formats import gib, rate, times

MOST_ROWS = 48


@dataclass(frozen=True)
class Effect:
    """One row with other options than the default ones."""

    row: Row
    quotient: Estimate | None
    """Its throughput over that of the default row; None where its speed is withheld."""
    bytes_more: int | None
    """Its peak on the device that holds most, less the default row's."""

    @property
    def outcome(self) -> str:
        """`faster`, `slower`, or why neither is said."""
        if self.quotient is None:
            return "withheld: not valid"
        shows = distinguishable(self.quotient)
        if shows is None:
            return "too few steps"
        return ("faster" if self.quotient.value > 1 else "slower") if shows else "no measurable effect here"

    @property
    def text(self) -> str:
        """One line: `--one-bucket: slower, 0.93 times as fast (95 % interval 0.90 to 0.96), memory + 12 MiB`."""
        told = self.outcome
        if self.quotient and self.quotient.interval:
            ratio = f"{self.quotient.value:.2f} times as fast"
            said = {"faster": ratio, "slower": f"slower, {ratio}"}.get(told, told)
            told = f"{said} (95 % interval {span(self.quotient)})"
        doubts = shorten(check.name for check in troubles(self.row, "speed"))
        memory = f", memory {_signed(self.bytes_more)}" if self.bytes_more is not None else ""
        return f"{self.row.variant}: {told}{memory}{f'; doubts about {doubts}' if doubts else ''}"


def effects(group: Group) -> list[Effect]:
    """One for each row that has a default row to be held against, in the order of the rows."""
    return [_effect(row, row.standard) for row in group.rows if row.standard is not None]


def by_standard(found: list[Effect]) -> dict[Row, list[Effect]]:
    """The effects under the row that they are held against."""
    return {
        standard: [effect for effect in found if effect.row.standard is standard]
        for standard in dict.fromkeys(effect.row.standard for effect in found)
    }


def _effect(row: Row, standard: Row) -> Effect:
    peaks = [max((device.peak_bytes for device in memory_of(one)), default=None) for one in (row, standard)]
    more = None if None in peaks else peaks[0] - peaks[1]
    return Effect(row, times_as_fast(row, _beside(row, standard)) if row.is_valid else None, more)


def _beside(row: Row, standard: Row) -> Row:
    """The standard's runs of the very rounds that `row` took part in, for the default options may have run more often
    than the others; all of its runs where there are no such rounds."""
    started = [run.record.started_at for run in standard.runs]
    latest = [bisect(started, run.record.started_at) - 1 for run in row.runs]
    partners = Row([standard.runs[place] for place in latest if place >= 0])
    return partners if in_turn(row, partners) else standard


def without_default(group: Group) -> list[str]:
    """A line for every set of rows that differ in DDP's options alone and lack the default ones."""
    alike: dict[tuple, list[Row]] = {}
    for row in group.main_rows:
        if row.method == "ddp" and not row.has_default_options and row.is_valid:
            alike.setdefault(terms(row.record), []).append(row)
    return [
        f"{shorten(row.label for row in rows)} differ in DDP's options alone. What these do cannot be told, since DDP "
        "with its default options was not run beside them."
        for rows in alike.values()
        if len(rows) > 1
    ]


def options_sheet(group: Group) -> Sheet | None:
    """The default rows, each followed by the rows that it is held against; None where there are no such rows."""
    found = effects(group)[:MOST_ROWS]
    if not found:
        return None
    columns = [
        ("Options", "ddp-options"),
        ("Throughput", "throughput"),
        ("Against the defaults", "ddp-options"),
        ("Effect", "ddp-options"),
        ("Memory", "memory"),
    ]
    lines = []
    for standard, tried in by_standard(found).items():
        first = Cell("the defaults", note=f"{standard.label}, {_runs(standard)}")
        lines.append(("ddp", [first, _speed(standard), *[Cell("–")] * 3]))
        lines += [("ddp", _cells(effect)) for effect in tried]
    hint = (
        "Of options without any effect one in twenty still looks as if it had one: trust what a second sweep shows "
        "again. Memory: the difference on the device or process that holds most."
    )
    return Sheet("What DDP's options do", columns, lines, hint)


def _cells(effect: Effect) -> list[Cell]:
    quotient, more = effect.quotient, effect.bytes_more
    against = Cell("withheld")
    if quotient:
        against = Cell(times(quotient.value), interval_text(quotient, times), value=quotient.value)
    memory = Cell("n/a") if more is None else Cell(_signed(more), value=more)
    return [Cell(effect.row.variant, note=_runs(effect.row)), _speed(effect.row), against, Cell(effect.outcome), memory]


def _speed(row: Row) -> Cell:
    warnings = troubles(row, "speed")
    if row.throughput is None:
        return Cell("withheld", warnings=warnings)
    speed = row.throughput
    return Cell(rate(speed.value), interval_text(speed, rate), value=speed.value, warnings=warnings)


def _runs(row: Row) -> str:
    return f"{len(row.runs)} run{'s' if len(row.runs) > 1 else ''}"


def _signed(size: int) -> str:
    return f"{'+' if size >= 0 else '−'} {gib(abs(size))}"
