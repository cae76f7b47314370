"""`make ladder`: from the published command upwards, one switch a rung; a rung stays where its interval says so."""

from __future__ import annotations

import shlex
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace

from common.campaigns.launches import SINGLE, WITHOUT_ANATOMY, Chosen
from common.campaigns.orders import drawn_orders
from common.campaigns.past import Past
from common.campaigns.steering import Launches, Outcome, Planned
from common.errors import UsageError
from common.records import DeviceKind, Environment, throughput

Contest = Generator[Planned, Outcome | None, bool]
Orders = Iterator[tuple[int, list[int]]]
"""Numbers of rounds, counted through all contests, and the order of each."""
PURPOSE = "step 02 with one switch after another, each kept only if its interval says that it pays"
BUDGET: dict[DeviceKind, float] = {"cuda": 1200, "cpu": 600}
"""Seconds. A rung takes three rounds of two launches."""
MIN_ROUNDS = 3
HOPELESS = 0.5
"""Below this share of what stands, one round is enough: on two busy CPU cores bf16 took twelve times as long."""
START: dict[DeviceKind, tuple[str, int, int]] = {"cuda": ("resnet50", 64, 12_288), "cpu": ("resnet18", 16, 192)}
"""Model, batch and samples of an epoch: of two epochs, so that the loss can be seen to fall."""
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
class Standing:
    """One configuration of the ladder."""

    model: str
    epochs: int
    samples: int
    batch: int
    switches: str = ""

    @property
    def command(self) -> str:
        """What is launched for it."""
        samples = f" --samples-per-epoch {self.samples}{WITHOUT_ANATOMY}{self.switches}"
        return SINGLE.format(model=shlex.quote(self.model), batch=self.batch, epochs=self.epochs, samples=samples)

    def with_switch(self, switch: str) -> Standing:
        """The same with one switch more."""
        if switch == DOUBLED:
            return replace(self, batch=2 * self.batch)
        return replace(self, switches=self.switches + switch)


def up_the_ladder(here: Environment, chosen: Chosen, seed: int, past: Past) -> Launches:
    """What stands, and what is tried, in rounds of two; then, where the batch has grown, the top rung's switches at the
    first batch, for its loss. Raises `UsageError` where rounds are too few for an interval, and where the start fails.
    """
    kind: DeviceKind = "cuda" if here.gpus else "cpu"
    rounds = chosen.repeats or MIN_ROUNDS
    if rounds < MIN_ROUNDS:
        raise UsageError(f"a rung needs {MIN_ROUNDS} rounds for an interval: give REPEATS={MIN_ROUNDS} or more")
    model, batch, samples = START[kind]
    first = kept = Standing(chosen.model or model, chosen.epochs or 2, chosen.samples or samples, chosen.batch or batch)
    orders, batch_pays = enumerate(drawn_orders(2, seed), 1), True
    for switch in SWITCHES[kind]:
        if NEEDS.get(switch, "") not in kept.switches or (switch == DOUBLED and not batch_pays):
            continue
        tried = kept.with_switch(switch)
        pays = yield from _contest(kept, tried, rounds, orders, past)
        kept = tried if pays else kept
        batch_pays = batch_pays and (pays or switch != DOUBLED)
    at_first_batch = replace(kept, batch=first.batch)
    if kept.batch > first.batch and not past.runs(at_first_batch.command):
        yield Planned(at_first_batch.command, (next(orders)[0], 1))


def _contest(kept: Standing, tried: Standing, rounds: int, orders: Orders, past: Past) -> Contest:
    """Run both in rounds; whether `tried` is the faster, beyond doubt. What was run before counts."""
    if past.newest_failure(tried.command) in ("out_of_memory", "exception"):
        return False
    for _ in range(rounds - len(past.pairs(kept.command, tried.command))):
        if _is_hopeless(past, kept, tried):
            return False
        number, order = next(orders)
        for place, index in enumerate(order, 1):
            command = (kept, tried)[index].command
            if (yield Planned(command, (number, place))) == "completed":
                continue
            if command == tried.command:
                return False
            raise UsageError(f"what stood so far fails now, and its record says why: {command}")
    return past.is_rehearsal or _is_faster(past, kept, tried)


def _is_hopeless(past: Past, kept: Standing, tried: Standing) -> bool:
    """Whether a round has shown `tried` to be so much slower that further ones would only take time."""
    pairs = [[throughput(record) or 0.0 for record in pair] for pair in past.pairs(kept.command, tried.command)]
    return any(after < HOPELESS * before for before, after in pairs)


def _is_faster(past: Past, kept: Standing, tried: Standing) -> bool:
    # Imported this late, for it takes numpy and scipy with it, which nothing else here needs.
    from common.analysis.statistics.estimates import distinguishable, paired_ratio

    speeds = [[throughput(record) or 0.0 for record in pair] for pair in past.pairs(kept.command, tried.command)]
    if len(speeds) < MIN_ROUNDS:
        raise UsageError(f"records of runs of {tried.command} are missing, or say that they are another machine's")
    seconds = [[1 / speed for speed in of_command] for of_command in zip(*speeds, strict=True)]
    quotient = paired_ratio(*seconds)
    return quotient.value > 1 and bool(distinguishable(quotient))
