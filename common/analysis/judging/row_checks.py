"""Self-checks of a row: those of its runs taken together, and those that one run alone cannot answer."""

from __future__ import annotations

from dataclasses import dataclass

from common.analysis.comparing.rows import Row
from common.analysis.judging.checking import Check, Spoilt, answer
from common.analysis.judging.run_checks import check_run
from common.analysis.statistics.estimates import distinguishable, ratio

MIN_DIFFERENCE = 0.05
"""Two runs of one configuration may differ by this share without being marked."""
SUPERLINEAR = 1.05
SEVERITY = ("failed", "warning", "not measured", "passed", "not applicable")
"""The worst first."""


@dataclass(frozen=True)
class PooledCheck:
    """One question about a row: the worst answer of its runs, the newest of equals."""

    check: Check
    alike: int
    """Runs with this outcome."""
    runs: int


def pooled_checks(row: Row) -> list[PooledCheck]:
    """Every self-check of a row, in the order of the page."""
    by_id: dict[str, list[Check]] = {}
    for run in reversed(row.runs):
        for check in check_run(run):
            by_id.setdefault(check.id, []).append(check)
    for check in [repeats(row), *([efficiency(row)] if row.method != "single" else [])]:
        by_id[check.id] = [check]
    return [_worst(checks) for checks in by_id.values()]


def _worst(checks: list[Check]) -> PooledCheck:
    worst = min(checks, key=lambda check: SEVERITY.index(check.outcome))
    return PooledCheck(worst, sum(check.outcome == worst.outcome for check in checks), len(checks))


def troubles(pooled: list[PooledCheck], spoils: Spoilt) -> tuple[Check, ...]:
    """The checks that did not hold and that spoil the named number."""
    return tuple(part.check for part in pooled if part.check.is_trouble and part.check.spoils == spoils)


def repeats(row: Row) -> Check:
    """Do the runs of a row agree? Below three nobody can say which one is an outlier."""
    runs = row.runs
    if len(runs) == 1:
        return answer("repeats", "not measured", "one_run")
    if row.outliers:
        return answer("repeats", "warning", "outliers", files=[run.file for run in row.outliers[:5]])
    if len(runs) == 2:
        quotient = ratio(runs[0].seconds_per_sample, runs[1].seconds_per_sample)
        if distinguishable(quotient) and abs(quotient.value - 1) > MIN_DIFFERENCE:
            return answer("repeats", "warning", "two_differ", share=abs(quotient.value - 1))
    return answer("repeats", "passed", "agree", runs=len(runs))


def efficiency(row: Row) -> Check:
    """Is the scaling efficiency possible?"""
    if row.efficiency is None:
        alone = "no_baseline" if row.speed_up is None else "devices_not_its_own"
        unlike = row.record.world.has_unlike_devices
        return answer("efficiency", "not applicable", "unlike_devices" if unlike else alone)
    values = {"efficiency": row.efficiency.value, "limit": SUPERLINEAR, "devices": row.devices}
    too_good = row.efficiency.value > SUPERLINEAR and distinguishable(row.efficiency) is not False
    return answer("efficiency", "warning" if too_good else "passed", "too_good" if too_good else "possible", **values)
