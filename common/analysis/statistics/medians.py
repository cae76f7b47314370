"""Medians with intervals that assume nothing of how the values are distributed.

The steps of a profile are few, and their times are skewed. Between the k-th smallest and the k-th largest of n
independent values lies the median with probability 1 − 2 P(B < k), B ~ Binomial(n, ½), whatever the distribution.
Source: David and Nagaraja, Order Statistics, section 7.1. Neighbouring steps are not quite independent, so that the
true coverage is a little lower; alternating what is compared (pairs of steps) takes most of that away.

Where kinds of steps were taken in rounds, the interval comes from resampling these: a bootstrap (Efron and Tibshirani,
An Introduction to the Bootstrap, section 13.3, percentile intervals). Rounds are drawn with replacement, as many as
there are, and each median is taken again of the rounds drawn. Medians of the same rounds are resampled by the same
draws, so that what they have in common cancels in sums and differences of them. How often the intervals hold the truth:
tests/analysis/statistics/test_resampling.py.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from statistics import median
from typing import Literal, Self

import numpy as np
from scipy.special import bdtr

from common.analysis.statistics.estimates import CONFIDENCE, Estimate, is_narrow, student_quantile

MIN_VALUES = 6
"""The smallest and the largest of five enclose the median in 93.75 % of all cases, of six in 96.9 %."""
DRAWS = 4000


@dataclass(frozen=True, slots=True)
class Median:
    """The median of some values, in their unit."""

    value: float
    count: int
    interval: tuple[float, float] | None = None
    """Order statistics, or the middle 95 % of `draws`; None below `MIN_VALUES`."""
    draws: np.ndarray | None = field(default=None, compare=False, repr=False)
    """(DRAWS,); of a median over rounds: what it would have been with other rounds."""

    @property
    def bounds(self) -> tuple[float, float]:
        """Both ends of the interval; without one, the value is both."""
        return self.interval or (self.value, self.value)

    @property
    def coverage(self) -> float:
        """Probability with which the interval holds the true median. Of order statistics it is known exactly, at least
        95 %, and nan without an interval; of resampling it is what the interval is meant to hold."""
        return interval_rank(self.count)[1] if self.draws is None else CONFIDENCE

    @property
    def is_above_zero(self) -> bool:
        """Whether chance alone does not explain that it is positive."""
        return self.interval is not None and self.interval[0] > 0

    @property
    def is_below_zero(self) -> bool:
        """Whether chance alone does not explain that it is negative."""
        return self.interval is not None and self.interval[1] < 0

    def negated(self) -> Self:
        """The median of the negative values: what is lost becomes what is gained."""
        ends = self.interval and (-self.interval[1], -self.interval[0])
        return replace(self, value=-self.value, interval=ends, draws=None if self.draws is None else -self.draws)

    def is_apart_from(self, other: Self) -> bool:
        """Whether both have an interval and the two do not meet: a strict test, for unpaired values."""
        if self.interval is None or other.interval is None:
            return False
        return self.interval[1] < other.interval[0] or other.interval[1] < self.interval[0]


def is_cost(median: Median | None) -> bool:
    """Whether there is a cost, and chance alone does not explain it."""
    return median is not None and median.is_above_zero


def outcome_of_cost(cost: Median, step: float) -> Literal["cost", "no_cost", "uncertain"]:
    """What may be said of a cost in a step of so many seconds: that there is one, that none shows, or that nobody
    knows."""
    if cost.is_above_zero:
        return "cost"
    is_known = cost.is_below_zero or (cost.interval is not None and is_narrow(cost.interval, step))
    return "no_cost" if is_known else "uncertain"


def median_of(values: Sequence[float]) -> Median | None:
    """The median and its interval; None where there are no values."""
    if not values:
        return None
    ordered = sorted(values)
    rank = interval_rank(len(ordered))[0]
    return Median(median(ordered), len(ordered), (ordered[rank - 1], ordered[-rank]) if rank else None)


@lru_cache
def interval_rank(count: int) -> tuple[int, float]:
    """The largest k whose interval still covers 95 %, and what it covers; (0, nan) below `MIN_VALUES`."""
    missed = 2 * bdtr(np.arange(count // 2), count, 0.5)  # how often the intervals of k = 1, 2, … do not hold it
    rank = int(np.sum(missed <= 1 - CONFIDENCE))
    return rank, 1 - float(missed[rank - 1]) if rank else math.nan


def resampled_median(rounds: Sequence[float]) -> Median | None:
    """The median over rounds; None without any. Equally many rounds are resampled alike; fewer than `MIN_VALUES` say
    too little of what other rounds would give."""
    if not rounds:
        return None
    values = np.asarray(rounds, dtype=float)
    value, count = float(np.median(values)), len(values)
    if count < MIN_VALUES:
        return Median(value, count)
    drawn = np.random.default_rng(count).integers(count, size=(DRAWS, count))
    draws = np.median(values[drawn], axis=1)
    return Median(value, count, middle(draws), draws)


def draws_of_estimate(estimate: Estimate, seed: int) -> np.ndarray | None:
    """What an estimate might have been, by its own distribution; None without an interval."""
    if estimate.relative_error is None:
        return None
    spread = student_quantile(estimate.degrees_of_freedom) * estimate.relative_error
    return estimate.value * np.exp(draws_of_interval(0.0, (-spread, spread), seed))


def draws_of_interval(value: float, interval: tuple[float, float], seed: int) -> np.ndarray:
    """What a figure that has an interval and no draws might have been: normal, 95 % of it within half the interval on
    either side, and independent of all others."""
    half = (interval[1] - interval[0]) / 2
    return value + np.random.default_rng(seed).standard_normal(DRAWS) * half / student_quantile(math.inf)


def middle(draws: np.ndarray) -> tuple[float, float]:
    """Both ends of the middle 95 %."""
    low, high = np.quantile(draws, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def interval_of_sum(total: float, *parts: tuple[float, float] | None) -> tuple[float, float] | None:
    """Both ends of a sum or difference by the intervals of its parts; None where one of them has none.

    Errors are taken as independent, and half an interval as two standard errors: so is the half of a sum's.
    """
    if None in parts:
        return None
    reach = math.hypot(*((high - low) / 2 for low, high in parts))
    return total - reach, total + reach
