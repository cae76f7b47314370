"""Self-checks that one run alone cannot answer: do repeats agree, and is the scaling too good to be true?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.analysis.judging.checks import Check
from common.analysis.statistics.estimates import distinguishable, ratio
from common.formats import percent

if TYPE_CHECKING:
    from common.analysis.comparing.groups import Row

LEAST_DIFFERENCE = 0.05
"""Two runs of one configuration may differ by this share without being marked."""
SUPERLINEAR = 1.05


def repeats(row: Row) -> Check:
    """Do the runs of a row agree? Below three nobody can say which one stands apart."""
    name, runs = "repeats", row.runs
    if len(runs) == 1:
        return Check(name, "not measured", "one run: its interval knows nothing of the difference between runs")
    if row.apart:
        return Check(name, "warning", "stands apart from its repeats: " + ", ".join(run.file for run in row.apart[:5]))
    if len(runs) == 2:
        quotient = ratio(runs[0].seconds_per_sample, runs[1].seconds_per_sample)
        if distinguishable(quotient) and abs(quotient.value - 1) > LEAST_DIFFERENCE:
            return Check(
                name, "warning", f"its two runs differ by {percent(abs(quotient.value - 1))}: run it a third time"
            )
    return Check(name, "passed", f"{len(runs)} runs, none stands apart")


def efficiency(row: Row) -> Check:
    """Is the scaling efficiency possible?"""
    name = "efficiency"
    if row.efficiency is None:
        reason = "no valid single-device run to compare with" if row.speed_up is None else "devices are not its own"
        return Check(name, "not applicable", reason)
    told = f"{percent(row.efficiency.value)} (limit {percent(SUPERLINEAR)}) of {row.devices} × one device"
    if row.efficiency.value > SUPERLINEAR and distinguishable(row.efficiency) is not False:
        return Check(name, "warning", f"{told}: too good; suspect the single-device run, or a cache")
    return Check(name, "passed", told)
