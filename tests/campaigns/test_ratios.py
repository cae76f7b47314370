"""The simulation has the very formulas of `make lab`, and its rule."""

import json
import sys

import numpy as np
import pytest
from conftest import ROOT

from common.analysis.statistics.estimates import distinguishable, paired_ratio
from common.campaigns.rounds import after_another, half_interval, ratios_of, seconds_by_round
from common.records import Record

sys.path.insert(0, str(ROOT / "benchmarks"))
import interval_coverage as simulation


def campaigns(noise=0.02, rounds=7):
    return np.exp(np.random.default_rng(1).normal(0, noise, (200, rounds, 3)))


@pytest.mark.parametrize("rounds", [2, 3, 5, 7])
def test_the_vectorised_ratio_is_that_of_step_05(rounds):
    seconds = campaigns(noise=0.1, rounds=rounds)
    values, reaches = simulation.paired(seconds, "single", "ddp")
    told_apart = simulation.told_apart(seconds, rounds)
    for campaign, value, reach, told in zip(seconds, values, reaches, told_apart, strict=True):
        quotient = paired_ratio(campaign[:, 0], campaign[:, 2])
        assert quotient.value == pytest.approx(np.exp(value))
        assert half_interval(quotient) == pytest.approx(np.expm1(reach))
        assert distinguishable(quotient) == told


def widest(rounds):
    return max(ratios_of(rounds.tolist()).values(), key=half_interval)


def test_the_simulated_rule_is_that_of_the_lab():
    seconds, tolerance = campaigns(), 0.03
    needed = simulation.rounds_needed(seconds, tolerance, 7)
    assert set(needed) == {3, 4, 5, 6, 7}
    for campaign, most in zip(seconds, needed, strict=True):
        for rounds in range(3, most):
            assert half_interval(widest(campaign[:rounds])) > tolerance
        assert most == 7 or half_interval(widest(campaign[:most])) <= tolerance


def test_steps_take_what_their_slot_takes():
    slots = np.arange(6.0).reshape(1, 6)
    places = np.array([[[1, 2, 0], [0, 2, 1]]])  # first 03, then 04, then 02; then 02, 04, 03
    assert simulation.seconds_by_step(slots, places).tolist() == [[[2, 0, 1], [3, 5, 4]]]


def test_a_drift_names_winners_in_a_fixed_order_and_not_in_a_drawn_one():
    rng, drift = np.random.default_rng(2), simulation.DISTURBANCES["drift 1 %"]
    slots = np.exp(drift(rng, 4000, 21) + rng.normal(0, 0.01, (4000, 21)))
    drawn = simulation.drawn_places(rng, 4000, 7)
    fixed = np.broadcast_to(np.arange(3), drawn.shape)
    shares = [simulation.told_apart(simulation.seconds_by_step(slots, places), 7).mean() for places in (drawn, fixed)]
    assert shares[0] < 0.03
    assert shares[1] > 0.8


def test_what_another_round_would_leave_is_narrower():
    known = widest(campaigns()[0][:3])
    assert after_another(known) < half_interval(known)


def test_a_method_with_a_flag_of_its_own_does_not_stand_in_for_its_step():
    """DataParallel with kept threads is a launch of step 03, too."""

    (example,) = (ROOT / "results/examples/cpu").glob("02_*63bf.json")
    text = json.loads(example.read_text())
    launch = {"campaign": "lab", "id": "x", "seed": 0, "round": 1, "place": 1}

    def of(step, method, seconds):
        ranks = [rank | {"step_seconds": [seconds] * len(rank["step_seconds"])} for rank in text["ranks"]]
        return Record.model_validate(text | {"step": step, "method": method, "ranks": ranks, "launch": launch})

    runs = [of("02", "single", 2.0), of("03", "dp", 4.0), of("04", "ddp", 1.0), of("03", "dp_kept_threads", 3.0)]
    assert ratios_of(seconds_by_round(runs))["DP"].value == pytest.approx(0.5)
