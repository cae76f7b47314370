"""Self-checks of a row: those of its runs taken together, and those that one run alone cannot answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import median

from common.analysis.comparing.rows import Row
from common.analysis.comparing.speedup import in_turn
from common.analysis.judging.checking import Check, Spoilt, answer
from common.analysis.judging.run_checks import check_run
from common.analysis.reading.runs import CLOCK_DROP, CORE_WAIT_LIMIT, Run
from common.analysis.statistics.estimates import distinguishable, ratio
from common.content.messages import Message, message

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
    for check in [repeats(row), *([conditions(row), efficiency(row)] if row.is_parallel else [])]:
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


def conditions(row: Row) -> Check:
    """Did this row and the one that it is compared with meet the same machine? What comes and goes meets both alike,
    for each round draws its order, and is part of the interval; this finds what stayed with one of them: the median
    over pairs of runs, those of a round where they ran in turn."""
    if row.baseline is None:
        return answer("conditions", "not applicable", "no_baseline")
    pairs = list((zip if in_turn(row, row.baseline) else product)(row.runs, row.baseline.runs))
    waits, stolen, clocks, others = (_both(of_run, pairs) for of_run in (_wait, _steal, _clock, _others))
    unlike = [
        *_unlike("waits", waits, lambda here, there: abs(here - there) > CORE_WAIT_LIMIT),
        *_unlike("steal", stolen, lambda here, there: abs(here - there) > CORE_WAIT_LIMIT),
        *_unlike("clocks", clocks, lambda here, there: min(here, there) < CLOCK_DROP * max(here, there)),
        *_unlike("others", others, lambda here, there: bool(here) != bool(there)),
    ]
    if unlike:
        return answer("conditions", "warning", "unlike", parts=unlike, other=row.baseline.name)
    known = waits or stolen or clocks or others
    return answer("conditions", "passed" if known else "not measured", "alike" if known else "unknown")


def _both(of_run: Callable[[Run], float | None], pairs: Sequence[tuple[Run, Run]]) -> list[tuple[float, float]]:
    """A figure of both runs of each pair that has it twice."""
    known = [(of_run(here), of_run(there)) for here, there in pairs]
    return [pair for pair in known if None not in pair]


def _unlike(what: str, pairs: list[tuple[float, float]], differ: Callable[[float, float], bool]) -> list[Message]:
    """The figure, where it differs in more than half of the pairs, and in the same direction."""
    for sign in (1, -1):
        if 2 * sum(differ(*pair) and sign * (pair[0] - pair[1]) > 0 for pair in pairs) > len(pairs) > 0:
            here, there = (median(side) for side in zip(*pairs, strict=True))
            return [message(f"unlike.{what}", here=here, there=there)]
    return []


def _wait(run: Run) -> float | None:
    return run.core_wait_share


def _steal(run: Run) -> float | None:
    return run.steal_share


def _clock(run: Run) -> float | None:
    """Of the GPU whose clock was lowest, for it sets the pace."""
    clocks = [device.health.sm_clock_mhz_median for device in run.record.devices if device.health]
    return min(filter(None, clocks), default=None)


def _others(run: Run) -> float | None:
    return run.other_processes


def efficiency(row: Row) -> Check:
    """Is the scaling efficiency possible?"""
    if found := row.impossible_efficiency:
        return answer("efficiency", "failed", "impossible", efficiency=found.value, devices=row.devices)
    if row.efficiency is None:
        alone = "no_baseline" if row.speed_up is None else "devices_not_its_own"
        unlike = row.record.world.has_unlike_devices
        return answer("efficiency", "not applicable", "unlike_devices" if unlike else alone)
    values = {"efficiency": row.efficiency.value, "limit": SUPERLINEAR, "devices": row.devices}
    too_good = row.efficiency.value > SUPERLINEAR and distinguishable(row.efficiency) is not False
    return answer("efficiency", "warning" if too_good else "passed", "too_good" if too_good else "possible", **values)
