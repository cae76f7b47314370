"""Pure numbers: what the estimates and intervals must be, worked out by hand or simulated."""

from __future__ import annotations

import math

import numpy as np
import pytest

from common.analysis.statistics.estimates import (
    Estimate,
    distinguishable,
    mean_of_runs,
    mean_of_steps,
    outcome_of_ratio,
    outliers,
    paired_ratio,
    ratio,
    student_quantile,
    welch_satterthwaite,
)


def test_student_quantile_is_the_tables():
    assert student_quantile(3) == pytest.approx(3.182, abs=1e-3)
    assert student_quantile(11) == pytest.approx(2.201, abs=1e-3)
    assert student_quantile(math.inf) == pytest.approx(1.960, abs=1e-3)


def test_an_interval_through_logarithms_is_symmetric_by_ratio_and_keeps_under_inversion():
    estimate = Estimate(10.0, 0.05, 3)
    low, high = estimate.interval
    assert low * high == pytest.approx(100)
    assert math.log(high / 10) == pytest.approx(3.182 * 0.05, rel=1e-3)
    assert estimate.inverse().interval == pytest.approx((1 / high, 1 / low))
    assert estimate.scaled(3).interval == pytest.approx((3 * low, 3 * high))


@pytest.mark.parametrize(("steps", "batches"), [(4, 4), (10, 4), (80, 4), (100, 5), (240, 12), (4000, 12)])
def test_four_to_twelve_batches(steps, batches):
    assert mean_of_steps([1.0] * steps).degrees_of_freedom == batches - 1


@pytest.mark.parametrize(
    ("value", "error", "outcome"),
    [
        (1.5, 0.01, "faster"),
        (0.7, 0.01, "slower"),
        (1.01, 0.02, "no_difference"),  # half an interval of 4 %
        (1.01, 0.03, "uncertain"),  # of 6 %
        (1.2, 1.6, "uncertain"),  # 0.05 to 26.6
        (1.94, None, "too_few_runs"),
    ],
)
def test_what_may_be_said_of_a_ratio(value, error, outcome):
    assert outcome_of_ratio(Estimate(value, error)) == outcome


def test_batch_means_by_hand():
    # Four batches of two: means 1, 2, 3, 4; mean 2.5, variance of the batch means 5/3, standard error sqrt(5/3/4).
    estimate = mean_of_steps([1, 1, 2, 2, 3, 3, 4, 4])
    assert estimate.value == 2.5
    assert estimate.relative_error == pytest.approx(math.sqrt(5 / 12) / 2.5)
    assert estimate.degrees_of_freedom == 3


def test_uneven_batches_keep_the_ratio_of_sums():
    seconds = [1.0, 1.2, 0.9, 1.1, 3.0, 1.0, 0.8]
    assert mean_of_steps(seconds).value == pytest.approx(sum(seconds) / 7)


def test_too_few_steps_have_a_value_but_no_interval():
    estimate = mean_of_steps([1.0, 2.0, 3.0])
    assert estimate.value == 2.0
    assert estimate.interval is None
    with pytest.raises(ValueError, match="no steps"):
        mean_of_steps([])


def test_autocorrelation_widens_the_interval():
    rng = np.random.default_rng(1)
    slow_wave = 1 + 0.1 * np.sin(np.arange(400) / 30) + 0.01 * rng.normal(size=400)
    shuffled = rng.permutation(slow_wave)
    assert mean_of_steps(slow_wave).relative_error > 2 * mean_of_steps(shuffled).relative_error


def test_three_runs_use_the_difference_between_runs():
    runs = [Estimate(value, 0.001, 11) for value in (1.0, 1.1, 1.2)]
    pooled = mean_of_runs(runs)
    assert pooled.value == pytest.approx(1.1)
    assert pooled.relative_error == pytest.approx(0.1 / math.sqrt(3) / 1.1)
    assert pooled.degrees_of_freedom == 2


def test_two_runs_add_their_own_errors_in_quadrature():
    pooled = mean_of_runs([Estimate(1.0, 0.02, 5), Estimate(1.0, 0.02, 5)])
    assert pooled.relative_error == pytest.approx(0.02 / math.sqrt(2))
    assert pooled.degrees_of_freedom == pytest.approx(10)
    assert mean_of_runs([Estimate(1.0, 0.02, 5)]) == Estimate(1.0, 0.02, 5)
    assert mean_of_runs([Estimate(1.0), Estimate(3.0, 0.1, 3)]) == Estimate(2.0)


def test_two_runs_that_contradict_each_other_are_as_uncertain_as_they_differ():
    pooled = mean_of_runs([Estimate(1.0, 0.01, 8), Estimate(1.2, 0.01, 8)])
    assert pooled.relative_error == pytest.approx(0.1 / 1.1)
    assert pooled.degrees_of_freedom == 1
    assert pooled.interval[0] < 1.0 < 1.2 < pooled.interval[1]


def test_welch_satterthwaite_lies_between_the_smaller_and_the_sum():
    assert welch_satterthwaite([1, 1], [5, 5]) == pytest.approx(10)
    assert welch_satterthwaite([1, 1e-9], [5, 50]) == pytest.approx(5)
    assert welch_satterthwaite([0, 0], [5, 3]) == 3


def test_a_ratio_and_its_verdict():
    quotient = ratio(Estimate(3.0, 0.03, 11), Estimate(2.0, 0.04, 11))
    assert quotient.value == 1.5
    assert quotient.relative_error == pytest.approx(0.05)
    assert distinguishable(quotient) is True
    assert distinguishable(ratio(Estimate(1.01, 0.03, 11), Estimate(1.0, 0.04, 11))) is False
    assert distinguishable(ratio(Estimate(3.0), Estimate(1.0, 0.1, 3))) is None


def test_what_a_pair_has_in_common_cancels_out():
    drift = np.array([1.0, 1.3, 0.8, 1.6])
    quotient = paired_ratio(2.0 * drift, 1.0 * drift)
    assert quotient.value == pytest.approx(2.0)
    assert quotient.relative_error == pytest.approx(0, abs=1e-12)
    assert quotient.degrees_of_freedom == 3
    assert paired_ratio([1.0, 3.0], [1.0, 1.0]).relative_error == pytest.approx(0.5)  # ±0.5 over √2, of two
    with pytest.raises(ValueError, match="pairs"):
        paired_ratio([1.0, 2.0], [1.0])


@pytest.mark.parametrize("rounds", [3, 5])
def test_pairs_find_no_winner_beyond_the_nominal_rate_on_a_machine_that_drifts(rounds):
    rng = np.random.default_rng(5)
    trials, winners = 2000, 0
    for _ in range(trials):
        drift = np.cumprod(rng.normal(1, 0.15, rounds).clip(0.5))
        one, other = (drift * rng.normal(1, 0.03, rounds) for _ in range(2))
        winners += distinguishable(paired_ratio(one, other))
    # Nominal 5 % of 2,000 is 100, standard deviation 9.7: above 130 would be three deviations too many.
    assert winners <= 130


def test_one_run_of_five_is_an_outlier_and_quiet_ones_are_not():
    steady = [Estimate(value, 0.005, 11) for value in (1.00, 1.01, 0.99, 1.005, 1.40)]
    assert outliers(steady) == [False, False, False, False, True]
    assert not any(outliers([Estimate(value, 0.0, 11) for value in (1.0, 1.0, 1.0, 1.001)]))
    assert not any(outliers([Estimate(1.0), Estimate(2.0)]))


def _runs(rng, count, steps=60, correlation=0.5, between=0.02):
    """Repeats of one method: correlated steps, and a speed that differs a little from run to run."""
    noise = rng.normal(size=(count, steps))
    for step in range(1, steps):
        noise[:, step] += correlation * noise[:, step - 1]
    own = rng.normal(1, between, (count, 1))
    return [mean_of_steps(row) for row in own * (1 + 0.03 * noise)]


def test_one_method_against_itself_finds_no_winner_beyond_the_nominal_rate():
    rng = np.random.default_rng(2)
    trials = 600
    winners = sum(
        distinguishable(ratio(mean_of_runs(_runs(rng, 3)), mean_of_runs(_runs(rng, 3)))) for _ in range(trials)
    )
    # Nominal 5 % of 600 is 30, standard deviation 5.3: above 46 would be three deviations too many.
    assert winners <= 46


def test_two_methods_that_differ_by_a_fifth_are_told_apart():
    rng = np.random.default_rng(3)
    trials = 200
    count = sum(
        bool(distinguishable(ratio(mean_of_runs(_runs(rng, 5)).scaled(1.2), mean_of_runs(_runs(rng, 5)))))
        for _ in range(trials)
    )
    assert count > 0.95 * trials


def test_coverage_of_one_run_is_near_nominal():
    rng = np.random.default_rng(4)
    trials, steps = 1000, 200
    noise = rng.normal(size=(trials, steps + 20))
    for step in range(1, steps + 20):
        noise[:, step] += 0.5 * noise[:, step - 1]
    held = 0
    for row in 1 + 0.05 * noise[:, 20:]:
        low, high = mean_of_steps(row).interval
        held += low <= 1 <= high
    assert 0.92 <= held / trials <= 0.975
