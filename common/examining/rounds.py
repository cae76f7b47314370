"""Steps of several kinds in rounds, so that what drifts hits all kinds alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random
from typing import TypeVar

from common.records import StepsInRounds

Kind = TypeVar("Kind", bound=str)

MIN_WARM_UP, MAX_WARM_UP = 3, 8
LEAST_GAIN = 0.05


def steps_in_rounds(
    kinds: Mapping[str, Callable[[], float]], rounds: int, seed: int, progress: Callable[[], object]
) -> StepsInRounds:
    """Warm every kind up until its times settle, then take one step of each in every round, in random order.

    A kind takes a step and returns its seconds. It is warmed up for 3 to 8 steps, until `has_settled`.
    """
    warm_up: dict[str, list[float]] = {name: [] for name in kinds}
    for name, times in warm_up.items():
        while len(times) < MAX_WARM_UP and not has_settled(times):
            times.append(kinds[name]())
            progress()
    seconds: dict[str, list[float]] = {name: [] for name in kinds}
    orders = orders_of_rounds(kinds, rounds, seed)
    for order in orders:
        for name in order:
            seconds[name].append(kinds[name]())
            progress()
    settled = {name: has_settled(times) for name, times in warm_up.items()}
    return StepsInRounds(seed=seed, orders=orders, seconds=seconds, warm_up_seconds=warm_up, settled=settled)


def orders_of_rounds(kinds: Iterable[Kind], rounds: int, seed: int) -> list[list[Kind]]:
    """The kinds of each round, in random order."""
    random, names = Random(seed), list(kinds)
    return [random.sample(names, len(names)) for _ in range(rounds)]


def has_settled(seconds: Sequence[float]) -> bool:
    """Whether steps no longer get quicker: neither of the last two was 5 % below the shortest one before them.

    At least three steps. One that something held up does not count against it: only gains are looked for.
    """
    if len(seconds) < MIN_WARM_UP:
        return False
    return min(seconds[-2:]) >= (1 - LEAST_GAIN) * min(seconds[:-2])
