"""Steps in rounds: every kind once a round, in random order, warmed up until its times settle."""

import threading
from collections import Counter
from itertools import chain, repeat
from types import SimpleNamespace

import pytest
import torch
from factories import make_place
from torch import nn

from common.examining.timed_steps import MAX_WARM_UP, MIN_ROUNDS, Experiment, NotMeasuredError, has_settled
from common.examining.wrapper_costs import measure_threads_and_replicas, replicated_kinds
from common.records import REPLICATED_KINDS, StepsInRounds
from common.training.data_parallel import EmulatedDataParallel, EmulatedKeptThreads


@pytest.mark.parametrize(
    ("seconds", "settled"),
    [
        ([1.0, 1.0], False),  # too few
        ([1.0, 1.0, 1.0], True),
        ([1.0, 1.5, 2.0], True),  # something held them up; they were quick before
        ([2.0, 1.0, 1.0], False),  # the first one settled something
        ([2.0, 1.0, 1.0, 1.0], True),
        ([1.4, 1.3, 1.2, 1.1], False),
    ],
)
def test_times_have_settled_once_they_fall_no_longer(seconds, settled):
    assert has_settled(seconds) == settled


def rounds(count, seed=0, **callbacks):
    """The method that takes so many rounds."""
    training = SimpleNamespace(config=SimpleNamespace(seed=seed))
    return Experiment(training, make_place(), (), count, **callbacks).in_rounds


def test_kinds_are_warmed_up_and_taken_in_rounds_of_random_order():
    slow_to_settle = chain([8.0, 4.0, 2.0], repeat(1.0))
    never = iter(2.0**-number for number in range(100))
    kinds = {"a": lambda: 1.0, "b": lambda: next(slow_to_settle), "c": lambda: next(never)}
    steps = Counter()
    taken = rounds(12, 7, progress=lambda: steps.update(["step"]))(kinds)
    assert {kind: len(times) for kind, times in taken.warm_up_seconds.items()} == {"a": 3, "b": 6, "c": MAX_WARM_UP}
    assert taken.settled == {"a": True, "b": True, "c": False}
    assert taken.seconds["b"] == [1.0] * 12
    assert all(sorted(order) == ["a", "b", "c"] for order in taken.orders)
    assert len({tuple(order) for order in taken.orders}) > 2
    assert {order[0] for order in taken.orders} == {"a", "b", "c"}
    assert steps["step"] == 3 + 6 + MAX_WARM_UP + 3 * 12
    again = rounds(12, 7)(dict.fromkeys(kinds, lambda: 1.0))
    assert again.orders == taken.orders


def test_a_round_without_one_of_the_kinds_is_no_record():
    taken = rounds(6, 0)({"a": lambda: 1.0, "b": lambda: 1.0}).model_dump()
    with pytest.raises(ValueError, match="a round that does not have one step of each of a, b"):
        StepsInRounds.model_validate(taken | {"orders": [*taken["orders"][:5], ["a"]]})
    with pytest.raises(ValueError, match="not one for each of 6 rounds"):
        StepsInRounds.model_validate(taken | {"seconds": {"a": [1.0] * 6, "b": [1.0] * 5}})


def test_slow_steps_get_the_rounds_that_fit_and_say_so():
    notes = []
    warmed = []
    taken = rounds(20, 0, note=notes.append)({"a": lambda: 4.0, "b": lambda: 2.0}, warmed.append)
    assert len(taken.orders) == len(taken.seconds["a"]) == 10
    assert notes == ["10 rounds of 20, as many as fit into 60 s"]
    assert warmed == ["a", "b"]


def test_steps_of_which_too_few_rounds_fit_are_not_taken():
    """Whatever the first one takes, which may compile."""
    taken = Counter()

    def kind(name, *seconds):
        times = chain(seconds, repeat(seconds[-1]))
        return lambda: (taken.update([name]), next(times))[1]

    with pytest.raises(NotMeasuredError, match="a round takes 22 s, and 3 do not fit into 60 s"):
        rounds(20, 0)({"a": kind("a", 12.0, 11.0), "b": kind("b", 11.0)})
    assert taken == {"a": 2}
    assert len(rounds(20, 0)({"a": kind("a", 500.0, 9.0), "b": kind("b", 9.0)}).orders) == MIN_ROUNDS


def test_a_method_that_keeps_its_threads_has_no_kinds_with_new_ones():
    model = nn.Linear(2, 2)
    assert replicated_kinds(EmulatedDataParallel(model, [0, 1])) == list(REPLICATED_KINDS)
    kept = ["kept_threads_new_replicas", "kept_threads_kept_replicas", "one_thread_new_replicas"]
    assert replicated_kinds(EmulatedKeptThreads(model, [0, 1])) == kept


def test_each_kind_goes_forward_in_the_threads_of_its_name():
    model = EmulatedDataParallel(nn.Linear(2, 2), [0, 1])
    of_step = []
    model.module.register_forward_pre_hook(lambda *_: of_step.append(threading.current_thread()))

    def two_steps(kind):
        steps = []
        for _ in range(2):
            of_step.clear()
            kind()
            steps.append(set(of_step))
        return steps

    training = SimpleNamespace(model=model, step=lambda batches: model(batches))
    experiment = SimpleNamespace(
        training=training,
        devices=make_place(2),
        batches=torch.ones(4, 2),
        in_rounds=lambda kinds: {name: two_steps(kind) for name, kind in kinds.items()},
    )
    threads = measure_threads_and_replicas(experiment)["replicated_steps"]
    assert threads.pop("one_thread_new_replicas") == [{threading.main_thread()}] * 2
    for name, (first, second) in threads.items():
        assert len(first) == 2, name
        assert (first == second) == name.startswith("kept"), name
