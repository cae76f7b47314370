"""How many runs would show a difference that matters, planned from the scatter of those that were made.

Planned is the smallest number at which a test of two means of so many runs each, or of so many pairs, finds the
difference with `POWER`, by noncentral t (Julious, Sample Sizes for Clinical Trials, chapters 3 and 4). Few runs know
their own scatter badly, and half of them think it smaller than it is: so it is planned with the upper end of the
scatter's one-sided interval of `SURE` (Browne, Statistics in Medicine 14, 1995). How often such plans hold:
benchmarks/before_and_after.py.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import Literal

from scipy.special import chdtri, nctdtr

from common.analysis.statistics.estimates import NARROW, Estimate, student_quantile, welch_satterthwaite

POWER, SURE = 0.9, 0.8
LEAST, MOST = 3, 100
LimitOutcome = Literal["below", "not_below", "undecided"]


def limit_outcome(quotient: Estimate, limit: float, runs: int, needed: int | None) -> LimitOutcome:
    """Whether a ratio is below a limit: its whole interval is. Not below: no part of the interval is, or there are as
    many `runs` on each side (or pairs) as `runs_needed` asks for, and they would have shown a difference that matters.
    """
    interval = quotient.interval
    if interval and interval[1] < limit:
        return "below"
    has_enough = needed is not None and runs >= needed
    return "not_below" if interval and (interval[0] >= limit or has_enough) else "undecided"


def runs_needed(sides: Sequence[Estimate], difference: float = NARROW) -> int | None:
    """Runs on each side (or pairs) after which the whole interval of a ratio lies below a limit in nine of ten cases,
    if the ratio is `difference` less than the limit, as a share of it. None for more than `MOST`.

    `sides`: the mean of each side over its runs, three or more; or the ratio over pairs, alone.
    """
    spread = [side.relative_error * math.sqrt(side.degrees_of_freedom + 1) for side in sides]
    known = welch_satterthwaite(spread, [side.degrees_of_freedom for side in sides])
    scatter = math.hypot(*spread) * math.sqrt(known / float(chdtri(known, SURE)))
    distance = -math.log1p(-difference)
    possible = range(LEAST, MOST + 1)
    place = bisect_left(possible, POWER, key=lambda runs: _power(runs, spread, scatter, distance))
    return possible[place] if place < len(possible) else None


def _power(runs: int, spread: Sequence[float], scatter: float, distance: float) -> float:
    """Probability that the interval's upper end lies below a limit that is `distance` above the truth, in logarithms.

    `spread`: of single runs on each side, relative; `scatter`: of their ratio.
    """
    if scatter == 0:
        return 1.0
    degrees = welch_satterthwaite(spread, [runs - 1] * len(spread))
    return 1 - float(nctdtr(degrees, distance * math.sqrt(runs) / scatter, student_quantile(degrees)))
