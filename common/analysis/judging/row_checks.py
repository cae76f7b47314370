"""Self-checks of a row: those of its runs taken together, and those that one run alone cannot answer."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from itertools import compress, product
from statistics import median
from typing import get_args

from common.analysis.comparing.facts import grouped
from common.analysis.comparing.rows import Row
from common.analysis.comparing.speedup import paired_runs
from common.analysis.judging.run_checks import Check, Outcome, check_run, not_passed, warning_if
from common.analysis.reading.runs import CLOCK_DROP, CORE_WAIT_LIMIT, Run
from common.analysis.statistics.estimates import distinguishable, outliers, ratio
from common.content import Cell, Column, Inline, Line, Lines, Message, Section, Table, details, message

MIN_DIFFERENCE = 0.05
"""Two runs of one configuration may differ by this share without being marked."""
SUPERLINEAR = 1.05


@cache
def pooled_checks(row: Row) -> list[Check]:
    """Every self-check of a row, in the order of the page: the worst answer of its runs, the newest of equals; and what
    one run alone cannot answer."""
    pooled = []
    of_runs = [check for run in reversed(row.runs) for check in check_run(run)]
    for checks in grouped(of_runs, lambda check: check.id).values():
        worst = min(checks, key=lambda check: get_args(Outcome).index(check.outcome))
        alike = sum(check.outcome == worst.outcome for check in checks)
        pooled.append(replace(worst, alike=alike, runs=len(checks)))
    return [*pooled, repeats(row), *([conditions(row), efficiency(row)] if row.is_parallel else [])]


def failed_checks(row: Row) -> list[Check]:
    """The checks that did not hold and that are about the row's speed; `profile` is about another number."""
    return [check for check in pooled_checks(row) if check.has_failed and check.id != "profile"]


def repeats(row: Row) -> Check:
    """Do the runs of a row agree? Below three nobody can say which one is an outlier."""
    runs = row.runs
    if len(runs) == 1:
        return Check("repeats", "not measured")
    marks = outliers([run.seconds_per_sample for run in runs])
    if any(marks):
        files = [run.file for run in compress(runs, marks)]
        return not_passed("repeats", "warning", "outliers", files=files[:5])
    if len(runs) == 2:
        quotient = ratio(runs[0].seconds_per_sample, runs[1].seconds_per_sample)
        if distinguishable(quotient) and abs(quotient.value - 1) > MIN_DIFFERENCE:
            return not_passed("repeats", "warning", "two_differ", share=abs(quotient.value - 1))
    return Check("repeats", "passed")


def conditions(row: Row) -> Check:
    """Did this row and the one that it is compared with meet the same machine? What comes and goes meets both alike,
    for each round draws its order, and is part of the interval; this finds what stayed with one of them: the median
    over pairs of runs, those of a round where they ran in turn."""
    if row.baseline is None:
        return Check("conditions", "not applicable")
    pairs = paired_runs(row.runs, row.baseline.runs) or list(product(row.runs, row.baseline.runs))
    is_known, unlike = False, []
    for what, of_run, differ in CONDITIONS:
        figures = [(of_run(here), of_run(there)) for here, there in pairs]
        known = [pair for pair in figures if None not in pair]
        is_known = is_known or bool(known)
        # It differs in more than half of the pairs, and in the same direction.
        above = sum(differ(*pair) and pair[0] > pair[1] for pair in known)
        below = sum(differ(*pair) and pair[0] < pair[1] for pair in known)
        if 2 * max(above, below) > len(known):
            here, there = (median(side) for side in zip(*known, strict=True))
            unlike.append(message(f"unlike.{what}", here=here, there=there))
    if not is_known:
        return Check("conditions", "not measured")
    return warning_if(bool(unlike), "conditions", "unlike", parts=unlike, other=row.baseline.name)


def _clock(run: Run) -> float | None:
    """Of the GPU whose clock was lowest, for it sets the pace."""
    clocks = [device.health.sm_clock_mhz_median for device in run.record.devices if device.health]
    return min(filter(None, clocks), default=None)


def _by_much(here: float, there: float) -> bool:
    return abs(here - there) > CORE_WAIT_LIMIT


CONDITIONS: Sequence[tuple[str, Callable[[Run], float | None], Callable[[float, float], bool]]] = (
    ("waits", lambda run: run.times.core_wait_share, _by_much),
    ("steal", lambda run: run.times.steal_share, _by_much),
    ("clocks", _clock, lambda here, there: min(here, there) < CLOCK_DROP * max(here, there)),
    ("others", lambda run: run.other_processes, lambda here, there: bool(here) != bool(there)),
)
"""What a run met: its name, the figure, and whether two of them differ."""


def efficiency(row: Row) -> Check:
    """Is the scaling efficiency possible?"""
    if impossible := row.impossible_efficiency:
        return not_passed("efficiency", "failed", "impossible", efficiency=impossible.value, devices=row.devices)
    if row.efficiency is None:
        return Check("efficiency", "not applicable")
    too_good = row.efficiency.value > SUPERLINEAR and distinguishable(row.efficiency) is not False
    return warning_if(too_good, "efficiency", "too_good", efficiency=row.efficiency.value, limit=SUPERLINEAR,
                      devices=row.devices)  # fmt: skip


def checks_section(rows: Sequence[Row], place: str) -> Section:
    """The self-checks that did not pass, folded row by row and open where one has failed; what nobody measured; and,
    folded, what passed. `place`: of their group on the page."""
    parts: list = []
    doubts_of = {row: [check for check in pooled_checks(row) if check.has_failed] for row in rows}
    for row, doubts in doubts_of.items():
        title = message("page.doubts", row=row.name, checks=[check.id for check in doubts])
        shown = [Column("check"), Column("check_outcome"), Column("check_reason")]
        table = Table(
            "checks", shown, list(map(_line, doubts)), message("page.checks_of", row=row.name), style="checks"
        )
        has_failed = any(check.outcome == "failed" for check in doubts)
        if doubts:
            parts.append(Section(title=title, contents=[table], is_folded=True, is_open=has_failed, method=row.method))
    if clean := [row.name for row, doubts in doubts_of.items() if not doubts]:
        parts.append(Lines([message("page.no_doubts", rows=clean)], "checked"))
    if open_questions := _with_outcome(rows, "not measured"):
        parts.append(Lines(open_questions, "checked"))
    every = details(message("page.all_checks"), Lines(_with_outcome(rows, "passed")))
    return Section(f"{place}-checks", message("page.checks"), [*parts, every])


def _with_outcome(rows: Sequence[Row], outcome: Outcome) -> list[Message]:
    """The names of the checks that ended so, each once with the rows for which that holds."""
    ended = [(check.id, row) for row in rows for check in pooled_checks(row) if check.outcome == outcome]
    rows_of = {id: tuple(row for _, row in pairs) for id, pairs in grouped(ended, lambda pair: pair[0]).items()}
    return [
        message("page.checks_with", rows=[row.name for row in alike], outcome=outcome,
                checks=[message(f"check_name.{id}") for id in ids])
        for alike, ids in grouped(rows_of, lambda id: rows_of[id]).items()
    ]  # fmt: skip


def _line(check: Check) -> Line:
    reason = check.reason
    badge = Inline(message(f"outcome.{check.outcome}"), outcome=check.outcome.replace(" ", "-"))
    if check.alike < check.runs:
        reason = message("page.reason_of_runs", reason=reason, alike=check.alike, runs=check.runs)
    return Line([Cell(message(f"check_name.{check.id}")), Cell(badge), Cell(reason)])
