"""`make ladder`: from the published command upwards, a trial for each switch, which stays if its interval says so.

The page calls a trial a rung.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace

from common.campaigns.campaign import NO_PROFILE, AdaptiveCampaign, Outcome, Overrides, Plan, PlannedLaunch, Sizes
from common.campaigns.orders import drawn_orders
from common.campaigns.progress import MIN_ROUNDS, History
from common.errors import UsageError
from common.messages import message
from common.records import DeviceKind, Environment, seconds_per_sample

Orders = Iterator[tuple[int, list[int]]]
"""Numbers of rounds, counted through all trials, and the order of each."""
HOPELESS = 0.5
"""Below this share of the speed so far, one round is enough: on two busy CPU cores bf16 took twelve times as long."""
START: dict[DeviceKind, Sizes] = {
    "cuda": Sizes("resnet50", batch=64, epochs=2, samples=12_288),
    "cpu": Sizes("resnet18", batch=16, epochs=2, samples=192),
}
"""Two epochs, so that the loss can be seen to fall."""
DOUBLED = ""
"""Stands for the batch, twice as large."""
SWITCHES: dict[DeviceKind, tuple[str, ...]] = {
    "cuda": (" --precision bf16", " --channels-last", DOUBLED, DOUBLED, DOUBLED, " --compile",
             " --prefetch", " --fused-optimizer", " --cudnn-benchmark", " --compile-mode reduce-overhead"),
    "cpu": (" --precision bf16", " --channels-last", DOUBLED, " --fused-optimizer", " --compile"),
}  # fmt: skip
NEEDS = {" --compile-mode reduce-overhead": " --compile"}
"""Switches that say nothing without another one."""


@dataclass(frozen=True)
class Configuration:
    """One configuration of the ladder."""

    sizes: Sizes
    switches: str = ""

    @property
    def command(self) -> str:
        """What is launched for it."""
        return self.sizes.command("single", flags=NO_PROFILE + self.switches)

    def with_switch(self, switch: str) -> Configuration:
        """The same with one switch more."""
        if switch == DOUBLED:
            return replace(self, sizes=replace(self.sizes, batch=2 * self.sizes.batch))
        return replace(self, switches=self.switches + switch)


def up_the_ladder(here: Environment, overrides: Overrides, seed: int, history: History) -> Plan:
    """The best so far, and what is tried, in rounds of two; then, where the batch has grown, the switches that were
    kept at the first batch, for its loss. Raises `UsageError` where rounds are too few for an interval, and where the
    start fails."""
    kind: DeviceKind = "cuda" if here.gpus else "cpu"
    rounds = overrides.repeats or MIN_ROUNDS
    if rounds < MIN_ROUNDS:
        raise UsageError(f"a rung needs {MIN_ROUNDS} rounds for an interval: give REPEATS={MIN_ROUNDS} or more")
    first = best = Configuration(START[kind].chosen(overrides, 1))
    orders, batch_pays = enumerate(drawn_orders(2, seed), 1), True
    for switch in SWITCHES[kind]:
        if NEEDS.get(switch, "") not in best.switches or (switch == DOUBLED and not batch_pays):
            continue
        tried = best.with_switch(switch)
        pays = yield from _compare(best, tried, rounds, orders, history)
        best = tried if pays else best
        batch_pays = batch_pays and (pays or switch != DOUBLED)
    at_first_batch = replace(best, sizes=first.sizes)
    if best.sizes.batch > first.sizes.batch and not history.completed(at_first_batch.command):
        yield PlannedLaunch(at_first_batch.command, (next(orders)[0], 1))


def _compare(
    best: Configuration, tried: Configuration, rounds: int, orders: Orders, history: History
) -> Generator[PlannedLaunch, Outcome, bool]:
    """Run both in rounds; whether `tried` is the faster, beyond doubt. What was run before counts."""
    if history.newest_failure(tried.command) in ("out_of_memory", "exception"):
        return False
    for _ in range(rounds - len(_seconds(history, best, tried))):
        if any(before < HOPELESS * after for before, after in _seconds(history, best, tried)):
            return False
        number, order = next(orders)
        for place, index in enumerate(order, 1):
            command = (best, tried)[index].command
            if (yield PlannedLaunch(command, (number, place))) == "completed":
                continue
            if command == tried.command:
                return False
            raise UsageError(f"what stood so far fails now, and its record says why: {command}")
    return history.is_rehearsal or _is_faster(history, best, tried)


def _seconds(history: History, best: Configuration, tried: Configuration) -> list[tuple[float, float]]:
    """Per sample, of both in each round."""
    pairs = history.pairs(best.command, tried.command)
    return [(seconds_per_sample(before) or math.inf, seconds_per_sample(after) or math.inf) for before, after in pairs]


def _is_faster(history: History, best: Configuration, tried: Configuration) -> bool:
    # Imported this late, for it takes numpy and scipy with it, which nothing else here needs.
    from common.analysis.statistics.estimates import distinguishable, paired_ratio

    seconds = _seconds(history, best, tried)
    if len(seconds) < MIN_ROUNDS:
        raise UsageError(f"records of runs of {tried.command} are missing, or say that they are another machine's")
    ratio = paired_ratio(*zip(*seconds, strict=True))
    return ratio.value > 1 and bool(distinguishable(ratio))


LADDER = AdaptiveCampaign(
    message("step 02 with one switch after another, each kept only if its interval says that it pays"),
    plan=up_the_ladder,
    survives=("out_of_memory", "failed"),
    budget={"cuda": 1200, "cpu": 600},  # a trial takes three rounds of two launches
)
