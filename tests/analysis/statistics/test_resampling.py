"""Intervals from resampled rounds hold the truth about as often as they say, and what is common cancels."""

import numpy as np
import pytest

from common.analysis.statistics.estimates import Estimate
from common.analysis.statistics.medians import (
    draws_of_estimate,
    draws_of_interval,
    middle,
    resampled_median,
)


@pytest.mark.parametrize(("rounds", "least"), [(6, 0.9), (10, 0.91), (20, 0.92)])
def test_intervals_hold_the_true_median(rounds, least):
    """Of skewed differences with an occasional outlier, which is what steps look like."""
    random, trials, held = np.random.default_rng(5), 400, 0
    for _ in range(trials):
        values = random.lognormal(0, 0.5, rounds) - 1 + 5 * (random.random(rounds) < 0.05)
        low, high = resampled_median(values.tolist()).interval
        held += low <= TRUE_MEDIAN <= high
    assert least <= held / trials <= 0.995


TRUE_MEDIAN = float(np.median(np.random.default_rng(6).lognormal(0, 0.5, 10**6)
                              - 1 + 5 * (np.random.default_rng(7).random(10**6) < 0.05)))  # fmt: skip


def test_what_two_medians_of_the_same_rounds_have_in_common_cancels():
    random = np.random.default_rng(1)
    drift = random.normal(0, 10, 20)
    one, other = (resampled_median((base + drift + random.normal(0, 0.1, 20)).tolist()) for base in (100, 60))
    low, high = middle(one.draws - other.draws)
    assert low < 40 < high
    assert high - low < 1 < 0.2 * (one.interval[1] - one.interval[0])


def test_below_six_rounds_there_is_no_interval():
    assert resampled_median([1.0, 2.0, 3.0]).interval is None
    assert resampled_median([]) is None


def test_draws_of_other_figures_have_their_intervals():
    estimate = Estimate(2.0, 0.05, 4)
    assert middle(draws_of_estimate(estimate, 0)) == pytest.approx(estimate.interval, rel=0.02)
    assert draws_of_estimate(Estimate(2.0), 0) is None
    assert middle(draws_of_interval(5.0, (3.0, 7.0), 1)) == pytest.approx((3.0, 7.0), rel=0.05)


def test_the_negative_is_the_mirror_image():
    middle = resampled_median([1.0, 2.0, 3.0, 4.0, 5.0, 7.0])
    low, high = middle.interval
    assert middle.negated().interval == (-high, -low)
