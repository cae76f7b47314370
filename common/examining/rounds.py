"""Whole steps of several kinds in rounds, so that what drifts hits all kinds alike."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeVar

from common.machine.devices import LocalDevices, barrier, gathered
from common.measuring.clocks import gpu_sleep, mark, seconds_between
from common.records import ProfileRecord, StepsInRounds
from common.training.batch import Batch
from common.training.training import Training

Kind = TypeVar("Kind", bound=str)

MIN_WARM_UP, MAX_WARM_UP = 3, 8
LEAST_GAIN = 0.05
MAX_SECONDS, MIN_ROUNDS = 60.0, 3
"""Rounds of one experiment take no longer, where a model's steps do; if not even so many fit, none are taken."""


class TooSlowError(RuntimeError):
    """Too few rounds would fit. All ranks raise it at the same step."""


@dataclass(frozen=True)
class Rounds:
    """How many rounds are wanted, and in what time."""

    count: int
    seed: int
    """Of their orders."""
    progress: Callable[[], object] = lambda: None
    """Called after each step."""
    note: Callable[[str], object] = lambda text: None
    """Told why there are fewer."""

    def take(
        self, kinds: Mapping[str, Callable[[], float]], warmed: Callable[[str], object] = lambda name: None
    ) -> StepsInRounds:
        """Warm every kind up until its times settle, then take one step of each in every round, in random order.

        A kind takes a step and returns its seconds. 3 to 8 steps warm it up, until `has_settled`; then `warmed` is
        called with its name. Of ranks that step together the slowest one decides, so that all go on alike. Raises
        `TooSlowError`.
        """
        warm_up: dict[str, list[float]] = {name: [] for name in kinds}
        for name, times in warm_up.items():
            while len(times) < MAX_WARM_UP and not has_settled(times):
                times.append(max(gathered(kinds[name]())))
                self.progress()
                round_seconds = len(kinds) * min(times)
                # The first step may compile.
                if len(times) == 2 and min(self.count, MIN_ROUNDS) * round_seconds > MAX_SECONDS:
                    raise TooSlowError(
                        f"a round takes {round_seconds:.0f} s, and {MIN_ROUNDS} do not fit into {MAX_SECONDS:.0f} s"
                    )
            warmed(name)
        round_seconds = sum(times[-1] for times in warm_up.values())
        count = min(self.count, max(MIN_ROUNDS, int(MAX_SECONDS / round_seconds)))
        if count < self.count:
            self.note(f"{count} rounds of {self.count}, as many as fit into {MAX_SECONDS:.0f} s")
        seconds: dict[str, list[float]] = {name: [] for name in kinds}
        orders = orders_of_rounds(kinds, count, self.seed)
        for order in orders:
            for name in order:
                seconds[name].append(kinds[name]())
                self.progress()
        settled = {name: has_settled(times) for name, times in warm_up.items()}
        return StepsInRounds(seed=self.seed, orders=orders, seconds=seconds, warm_up_seconds=warm_up, settled=settled)


@dataclass(frozen=True)
class Experiment:
    """What an experiment works with."""

    training: Training
    devices: LocalDevices
    batches: Sequence[Batch]
    """Those of one step."""
    rounds: Rounds
    profile: ProfileRecord
    """Takes what belongs to no rank of its own."""


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


def timed(devices: LocalDevices, work: Callable[[], object], lead_seconds: float = 0.0) -> float:
    """Seconds of work that all ranks begin at once, and that ends when the devices are idle again.

    It begins with idle devices; or, on a GPU, `lead_seconds` after the host has begun to launch it: so far ahead.
    """
    devices.synchronize()
    barrier()
    if lead_seconds and devices.kind == "cuda":
        gpu_sleep(devices.device, lead_seconds)
    before = mark(devices.device)
    work()
    after = mark(devices.device)
    devices.synchronize()
    return round(seconds_between(before, after), 7)
