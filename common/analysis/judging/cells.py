"""Cells of estimates: each with its interval, or why it has none."""

from __future__ import annotations

from collections.abc import Sequence

from common.analysis.statistics.estimates import Estimate
from common.analysis.statistics.medians import MIN_VALUES, Median
from common.content import NOTHING, Cell, Mark, Message, message


def ratio_cell(quotient: Estimate, form: str, *notes: Message, marks: Sequence[Mark] = ()) -> Cell:
    """A ratio between rows, which has an interval where both have runs enough."""
    return estimate_cell(quotient, form, *notes, marks=marks, without="too_few_runs")


def estimate_cell(
    estimate: Estimate, form: str, *notes: Message, marks: Sequence[Mark] = (), without: str = "fewer_than_4"
) -> Cell:
    """An estimate with its 95 % interval, or why it has none."""
    missing = () if estimate.interval else (message(f"interval.{without}"),)
    return Cell(estimate.value, form, interval=estimate.interval, notes=(*missing, *notes), marks=marks)


def median_cell(median: Median | None) -> Cell:
    """A median of seconds with its interval, or why it has none."""
    if median is None:
        return NOTHING
    if median.interval is None:
        return Cell(median.value, "ms", notes=(message("interval.none", count=median.count, least=MIN_VALUES),))
    return Cell(median.value, "ms", interval=median.interval)
