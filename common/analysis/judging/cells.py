"""Tables as data: every figure as a number with its form and its interval; headers and notes by id.

One kind for all tables. Console and page show the same cells, so that they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from common.analysis.comparing.rows import RowName
from common.analysis.judging.checking import Check
from common.analysis.statistics.estimates import Estimate
from common.analysis.statistics.medians import MIN_VALUES, Median
from common.content.messages import Message, message
from common.records import Method


@dataclass(frozen=True)
class Cell:
    """What stands in one place of a table."""

    value: float | str | Message | RowName
    form: str = ""
    """How a number is written, by its name in `common.formats.FORMS`."""
    beside: float | None = None
    """A second number of the same form: `5.50 GiB / 5.36 GiB`."""
    interval: tuple[float, float] | None = None
    notes: tuple[Message | RowName, ...] = ()
    warnings: tuple[Check, ...] = ()
    """Checks that failed and that this number depends on."""

    @property
    def number(self) -> float | None:
        """The number, unrounded; None where something else stands here."""
        return self.value if isinstance(self.value, float | int) else None


@dataclass(frozen=True)
class Column:
    """A column: its header is the sentence `column.<id>`."""

    id: str
    anchor: str
    """Its entry in the glossary."""


@dataclass(frozen=True)
class Line:
    """A line of a table. The first cell is its head."""

    cells: Sequence[Cell]
    method: Method | None = None
    """Whose mark stands before it."""
    name: RowName | None = None
    is_valid: bool = True


@dataclass(frozen=True)
class Table:
    """A table: its title is the sentence `table.<id>`."""

    id: str
    columns: Sequence[Column]
    lines: Sequence[Line]
    title: Message | None = None
    hint: Message | None = None
    left_out: int = 0
    """Lines for which there was no room."""


NOTHING = Cell(message("cell.nothing"))
WITHHELD = Cell(message("cell.withheld"))


def not_available(*notes: Message, warnings: tuple[Check, ...] = ()) -> Cell:
    """`n/a`, with the reason."""
    return Cell(message("cell.not_available"), notes=notes, warnings=warnings)


def ratio_cell(quotient: Estimate, form: str, *notes: Message, warnings: tuple[Check, ...] = ()) -> Cell:
    """A ratio between rows, which has an interval where both have runs enough."""
    return estimate_cell(quotient, form, *notes, warnings=warnings, without="too_few_runs")


def estimate_cell(
    estimate: Estimate, form: str, *notes: Message, warnings: tuple[Check, ...] = (), without: str = "fewer_than_4"
) -> Cell:
    """An estimate with its 95 % interval, or why it has none."""
    missing = () if estimate.interval else (message(f"interval.{without}"),)
    return Cell(estimate.value, form, interval=estimate.interval, notes=(*missing, *notes), warnings=warnings)


def median_cell(median: Median | None) -> Cell:
    """A median of seconds with its interval and its coverage, or why it has none."""
    if median is None:
        return NOTHING
    if median.interval is None:
        return Cell(median.value, "ms", notes=(message("interval.none", count=median.count, least=MIN_VALUES),))
    coverage = message("interval.coverage", coverage=median.coverage, count=median.count)
    return Cell(median.value, "ms", interval=median.interval, notes=(coverage,))


def columns(*pairs: tuple[str, str]) -> list[Column]:
    """Columns from (id, anchor)."""
    return [Column(*pair) for pair in pairs]
