"""What threads and replicas cost: main effects and their interaction, and one device's layers in new threads."""

import pytest
from pydantic import ValidationError

from analysis.factories import make_record
from analysis.profile_factories import make_profile, make_rank, replicated_steps, wobbling
from common.analysis.reading.step_profile import reduce_profile
from common.records import LayerTimes, StepsInRounds, ThreadsOfForward


def replicated(**milliseconds):
    profile = make_profile("dp", replicated_steps=replicated_steps(**milliseconds))
    return reduce_profile(make_record("dp", 2, anatomy=profile)).replicated


def test_main_effects_add_up_to_the_step_that_keeps_nothing_less_the_one_that_keeps_all():
    costs = replicated(both_new=120, new_threads=100, new_replicas=60, both_kept=50)
    assert costs.threads_cost.value == pytest.approx((60 + 50) / 2 / 1000)
    assert costs.replicas_cost.value == pytest.approx((20 + 10) / 2 / 1000)
    assert costs.threads_cost.value + costs.replicas_cost.value == pytest.approx((120 - 50) / 1000)
    assert costs.interaction.value == pytest.approx(10 / 1000)
    assert costs.interaction.is_above_zero


def test_causes_that_do_not_act_together_have_no_interaction():
    costs = replicated(both_new=120, new_threads=110, new_replicas=60, both_kept=50)
    assert (costs.threads_cost.value, costs.replicas_cost.value) == pytest.approx((0.06, 0.01))
    assert costs.interaction.value == pytest.approx(0, abs=1e-9)


def test_an_older_record_has_one_half_of_the_design():
    rank = make_rank("dp")
    rank.new_threads_seconds, rank.kept_threads_seconds = wobbling(120, 9), wobbling(60, 9)
    rank.one_thread_seconds, rank.kept_replicas_seconds = wobbling(70, 9), wobbling(105, 9)
    costs = reduce_profile(make_record("dp", 2, anatomy=make_profile("dp", rank))).replicated
    assert (costs.threads_cost.value, costs.replicas_cost.value) == pytest.approx((0.06, 0.015))
    assert costs.interaction is None
    assert costs.turns.value == pytest.approx(-0.01)


def test_threads_that_are_kept_leave_the_cost_of_replicas():
    steps = replicated_steps(both_new=120, new_threads=100, new_replicas=60, both_kept=50)
    kinds = [kind for kind in steps.seconds if not kind.startswith("new_threads")]
    fewer = StepsInRounds(
        seed=0,
        orders=[kinds] * len(steps.orders),
        seconds={kind: steps.seconds[kind] for kind in kinds},
        warm_up_seconds={kind: [] for kind in kinds},
        settled=dict.fromkeys(kinds, True),
    )
    record = make_record("dp", 2, anatomy=make_profile("dp", replicated_steps=fewer))
    costs = reduce_profile(record).replicated
    assert (costs.threads_cost, costs.interaction) == (None, None)
    assert costs.replicas_cost.value == pytest.approx(0.01)


def threads_of_forward(layers=(), new=65.0, timed="step"):
    kinds = {"main_thread": 32.0, "new_thread": new, "kept_thread": 32.1}
    passes = StepsInRounds(
        seed=0,
        orders=[list(kinds)] * 9,
        seconds={kind: wobbling(milliseconds, 9) for kind, milliseconds in kinds.items()},
        warm_up_seconds={kind: [0.1] for kind in kinds},
        settled=dict.fromkeys(kinds, True),
    )
    return ThreadsOfForward(timed=timed, samples=64, passes=passes, layers=list(layers))


def layer(name, type="Conv2d", new=1.6, same_as=""):
    seconds = {"main_thread": [0.0001] * 3, "new_thread": [new / 1000] * 3, "kept_thread": [0.0001, 0.00012, 0.0001]}
    return LayerTimes(name=name, type=type, same_as=same_as, seconds=seconds)


def test_layers_that_pay_are_those_that_are_slow_in_every_new_thread():
    sometimes = layer("c")
    sometimes.seconds["new_thread"][1] = 0.0001
    layers = [layer("a"), layer("b", new=0.1, same_as="a"), sometimes, layer("d", type="BatchNorm2d", new=0.15)]
    profile = make_profile("single", threads_of_forward=threads_of_forward(layers))
    reduced = reduce_profile(make_record(anatomy=profile))
    assert reduced.new_thread_cost.value == pytest.approx(0.033)
    threads = reduced.threads_of_forward
    assert [one.name for one in threads.paying] == ["a"]
    assert [one.name for one in threads.convolutions if not one.same_as] == ["a", "c"]
    assert threads.paying[0].extra == pytest.approx(0.0015)


def test_a_layer_that_a_pass_left_out_is_not_counted():
    sometimes = layer("b")
    del sometimes.seconds["kept_thread"]
    assert [one.name for one in threads_of_forward([layer("a"), sometimes]).convolutions] == ["a"]


def test_an_experiment_with_other_kinds_is_refused():
    passes = replicated_steps(both_new=120, new_threads=100, new_replicas=60, both_kept=50)
    with pytest.raises(ValidationError, match="passes that are not in main_thread, new_thread, kept_thread"):
        ThreadsOfForward(timed="step", samples=64, passes=passes)
