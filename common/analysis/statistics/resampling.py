"""Medians whose intervals come from resampling rounds: what was measured in one round stays together.

A bootstrap (Efron and Tibshirani, An Introduction to the Bootstrap, section 13.3, percentile intervals): rounds are
drawn with replacement, as many as there are, and each median is taken again of the rounds drawn. Medians of the same
rounds are resampled by the same draws, so that what they have in common cancels in sums and differences of them.
How often the intervals hold the truth: tests/analysis/statistics/test_resampling.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from common.analysis.statistics.estimates import CONFIDENCE, Estimate, student_quantile
from common.analysis.statistics.medians import MIN_VALUES, Median

DRAWS = 4000


@dataclass(frozen=True, slots=True, eq=False)
class Resampled(Median):
    """A median over rounds, and what it would have been with other rounds. Its interval is the middle 95 % of that."""

    draws: np.ndarray | None = field(default=None, repr=False)
    """(DRAWS,); None below `MIN_VALUES` rounds, which say too little of what other rounds would give."""

    @property
    def coverage(self) -> float:
        """What the interval is meant to hold."""
        return CONFIDENCE

    def negated(self) -> Resampled:
        """The median of the negative values."""
        low, high = self.interval or (None, None)
        return Resampled(
            -self.value, self.count, self.interval and (-high, -low), None if self.draws is None else -self.draws
        )


def resampled_median(rounds: Sequence[float]) -> Resampled | None:
    """The median over rounds; None without any. Equally many rounds are resampled alike."""
    if not rounds:
        return None
    values = np.asarray(rounds, dtype=float)
    value, count = float(np.median(values)), len(values)
    if count < MIN_VALUES:
        return Resampled(value, count)
    draws = np.median(values[_drawn_rounds(count)], axis=1)
    return Resampled(value, count, middle(draws), draws)


@lru_cache
def _drawn_rounds(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(count, size=(DRAWS, count))


def draws_of_estimate(estimate: Estimate, seed: int) -> np.ndarray | None:
    """What an estimate might have been, by its own distribution; None without an interval."""
    if estimate.relative_error is None:
        return None
    spread = student_quantile(estimate.degrees_of_freedom) * estimate.relative_error
    return estimate.value * np.exp(_symmetric(spread, seed))


def draws_of_interval(value: float, interval: tuple[float, float], seed: int) -> np.ndarray:
    """What a figure that has an interval and no draws might have been: normal, and independent of all others."""
    return value + _symmetric((interval[1] - interval[0]) / 2, seed)


def _symmetric(half: float, seed: int) -> np.ndarray:
    """Normal draws of which 95 % lie within ± `half`."""
    return np.random.default_rng(seed).standard_normal(DRAWS) * half / student_quantile(np.inf)


def middle(draws: np.ndarray) -> tuple[float, float]:
    """Both ends of the middle 95 %."""
    low, high = np.quantile(draws, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)
