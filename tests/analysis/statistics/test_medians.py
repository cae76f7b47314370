"""Intervals of medians: their ranks by hand, and their coverage by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from common.analysis.statistics.medians import interval_rank, median_of


@pytest.mark.parametrize(
    ("count", "rank", "coverage"),
    [(5, 0, math.nan), (6, 1, 1 - 2 / 2**6), (8, 1, 1 - 2 / 2**8), (9, 2, 1 - 2 * 10 / 2**9), (20, 6, 0.958611)],
)
def test_ranks_and_coverage(count, rank, coverage):
    """By hand: 1 − 2 Σ (n over i) / 2ⁿ over i < k. For 20 values the sum is 21,700."""
    assert interval_rank(count) == (rank, pytest.approx(coverage, nan_ok=True))


def test_median_and_interval():
    middle = median_of([9.0, 1.0, 8.0, 2.0, 7.0, 3.0])
    assert (middle.value, middle.interval, middle.count) == (5.0, (1.0, 9.0), 6)
    assert middle.coverage == pytest.approx(0.96875)
    assert middle.is_above_zero
    assert not middle.is_below_zero
    assert median_of([-value for value in (1, 2, 3, 4, 5, 6)]).is_below_zero


def test_few_values_have_no_interval_and_none_have_no_median():
    middle = median_of([1.0, 2.0, 3.0, 4.0, 5.0])
    assert (middle.value, middle.interval) == (3.0, None)
    assert not middle.is_above_zero
    assert median_of([]) is None


def test_apart_means_that_the_intervals_do_not_meet():
    low, high, both = (median_of(list(values)) for values in (range(6), range(10, 16), range(3, 12)))
    assert low.is_apart_from(high)
    assert high.is_apart_from(low)
    assert not low.is_apart_from(both)
    assert not low.is_apart_from(median_of([100.0]))


@pytest.mark.parametrize("count", [6, 20, 51])
def test_coverage_is_what_it_says_for_a_skewed_distribution(count):
    """Log-normal with a heavy tail, whose median is 1: Student's interval of the mean would be about something else."""
    rng = np.random.default_rng(count)
    series = rng.lognormal(0.0, 1.5, (3_000, count))
    share = np.mean([low <= 1 <= high for low, high in (median_of(row.tolist()).interval for row in series)])
    assert share == pytest.approx(interval_rank(count)[1], abs=3 * math.sqrt(0.05 * 0.95 / 3_000))
