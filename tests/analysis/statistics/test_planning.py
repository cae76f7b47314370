"""Runs that a comparison needs: what a limit finds, and how often the plan holds."""

from __future__ import annotations

import numpy as np
import pytest

from common.analysis.statistics.estimates import (
    LEAST,
    MOST,
    Estimate,
    limit_outcome,
    mean_of_runs,
    paired_ratio,
    ratio,
    runs_needed,
)

NOISE = 0.015


def mean(values) -> Estimate:
    return mean_of_runs([Estimate(float(value)) for value in values])


def launches(rng, runs: int, speed: float = 1.0, noise: float = NOISE) -> np.ndarray:
    """Seconds a sample, of so many launches."""
    return np.exp(rng.normal(0, noise, runs)) / speed


@pytest.mark.parametrize(
    ("interval_error", "limit", "runs", "needed", "outcome"),
    [
        (0.01, 0.95, 3, 9, "below"),
        (0.01, 0.80, 3, 9, "not_below"),  # the whole interval is above
        (0.05, 0.95, 3, 9, "undecided"),
        (0.05, 0.95, 9, 9, "not_below"),  # 5 % below would have shown
        (0.05, 0.95, 100, None, "undecided"),
        (None, 0.95, 2, 3, "undecided"),
        (None, 0.95, 3, 3, "undecided"),
    ],
)
def test_what_a_limit_says(interval_error, limit, runs, needed, outcome):
    assert limit_outcome(Estimate(0.90, interval_error, 4), limit, runs, needed) == outcome


def test_more_scatter_takes_more_runs_and_pairs_take_fewer():
    needed = [runs_needed([Estimate(1.0, error, 4)] * 2) for error in (0, 0.002, 0.005, 0.01, 0.02, 0.2)]
    assert needed[0] == LEAST
    assert needed[:-1] == sorted(needed[:-1])
    assert (len(set(needed)), needed[-1]) == (len(needed) - 1, None)
    assert runs_needed([Estimate(1.0, 0.01, 4)]) < runs_needed([Estimate(1.0, 0.01, 4)] * 2) < MOST


def test_the_plan_is_the_textbooks_where_the_scatter_is_known():
    """Two means, a difference of one standard deviation of a run, 90 % power: 22 or 23 a side by every table. A very
    long series of runs knows the scatter."""
    scatter = -np.log1p(-0.05)
    known = Estimate(1.0, scatter / np.sqrt(100_001), 100_000)
    assert runs_needed([known, known]) in (22, 23)


def test_equals_are_rarely_told_apart():
    """benchmarks/before_and_after.py has more of it."""
    rng, trials = np.random.default_rng(1), 1500
    quotients = [ratio(*(mean(launches(rng, 4)) for _ in range(2))) for _ in range(trials)]
    assert np.mean([limit_outcome(one, 1.0, 4, None) == "below" for one in quotients]) <= 0.04


@pytest.mark.parametrize("in_turn", [False, True])
def test_a_planted_slow_down_is_found_with_the_runs_that_are_said_to_be_needed(in_turn):
    """Three runs a side say how many; then so many are made."""
    rng, found = np.random.default_rng(2), []
    for _ in range(150):
        runs = LEAST
        for _ in range(2):
            before, after = launches(rng, runs), launches(rng, runs, speed=0.95)
            sides = [mean(before), mean(after)]
            quotient = paired_ratio(before, after) if in_turn else ratio(*sides)
            runs = needed = runs_needed([quotient] if in_turn else sides) or MOST
        found.append(limit_outcome(quotient, 1.0, len(before), needed) == "below")
    assert np.mean(found) >= 0.85
