"""Which method to use, decided once: the verdict, the first line of advice and the next command all follow from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from common.analysis.comparing.rows import Row
from common.analysis.comparing.speedup import speedup
from common.analysis.judging.verdicts import clearly_fastest
from common.analysis.statistics.estimates import Estimate, distinguishable, outcome_of_ratio
from common.records import METHODS

Choice = Literal[
    "nothing",  # no speed to report
    "alone",  # one method only was measured
    "no_wrapper",  # all ran on one device
    "more_rounds",  # too few runs for an interval
    "measure_longer",  # the interval is too wide to tell
    "tie",  # parallel methods of the same speed, both faster than one device
    "either",  # no parallel tie, and a difference of no use
    "use_single",
    "use_method",
]


@dataclass(frozen=True)
class Decision:
    """What to use of the rows that were measured."""

    choice: Choice
    fastest: Row | None = None
    """By value alone."""
    second: Row | None = None
    lead: Estimate | None = None
    """Throughput of the fastest over that of the second."""


def decide(rows: Sequence[Row]) -> Decision:
    """Decide between one row of each method, as far as their intervals carry."""
    fastest, second, *_ = [*sorted(rows, key=lambda row: row.throughput.value, reverse=True), None, None]
    if fastest is None:
        return Decision("nothing")
    if second is None:
        return Decision("alone", fastest)
    lead = speedup(fastest, second)
    return Decision(_choice(rows, fastest, second, lead), fastest, second, lead)


def _choice(rows: Sequence[Row], fastest: Row, second: Row, lead: Estimate) -> Choice:
    if all(row.devices == 1 for row in rows):
        return "no_wrapper"
    if lead.interval is None:
        return "more_rounds"
    if clearly_fastest(lead):
        return "use_method" if fastest.is_parallel else "use_single"
    if outcome_of_ratio(lead) == "uncertain":
        return "measure_longer"
    return "tie" if all(map(_pays, (fastest, second))) else "either"


def _pays(row: Row) -> bool:
    """Whether a parallel row is surely faster than one device."""
    return bool(row.speed_up and distinguishable(row.speed_up) and row.speed_up.value > 1)


def recommended(decision: Decision) -> Row | None:
    """The row that a tie goes to: DDP's, as PyTorch advises; else the fastest."""
    if decision.choice == "tie":
        return max(filter(None, (decision.fastest, decision.second)), key=_synchronises)
    return decision.fastest


def _synchronises(row: Row) -> bool:
    return METHODS[row.method].synchronises_gradients
