"""`make ladder`: from the published command upwards, one switch a rung; a rung stays where its interval says so."""

from __future__ import annotations

import shlex
from collections.abc import Generator
from dataclasses import dataclass, replace

from common.campaigns.launches import REPORT, SINGLE, WITHOUT_ANATOMY, Chosen
from common.campaigns.past import Past
from common.campaigns.steering import Launches, Outcome
from common.errors import UsageError
from common.records import DeviceKind, Environment, throughput

Contest = Generator[str, Outcome | None, bool]
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

    template: str
    batch: int
    switches: str = ""

    @property
    def command(self) -> str:
        """What is launched for it."""
        return self.template.format(batch=self.batch) + self.switches

    def with_switch(self, switch: str) -> Standing:
        """The same with one switch more."""
        if switch == DOUBLED:
            return replace(self, batch=2 * self.batch)
        return replace(self, switches=self.switches + switch)


def up_the_ladder(here: Environment, chosen: Chosen, past: Past) -> Launches:
    """What stands, and what is tried, in turn; then, where the batch has grown, the top rung's switches at the first
    batch, for its loss. Raises `UsageError` where rounds are too few for an interval, and where the start fails."""
    kind: DeviceKind = "cuda" if here.gpus else "cpu"
    rounds = chosen.repeats or MIN_ROUNDS
    if rounds < MIN_ROUNDS:
        raise UsageError(f"a rung needs {MIN_ROUNDS} rounds for an interval: give REPEATS={MIN_ROUNDS} or more")
    first = kept = Standing(_template(kind, chosen), chosen.batch or START[kind][1])
    batch_pays = True
    for switch in SWITCHES[kind]:
        if NEEDS.get(switch, "") not in kept.switches or (switch == DOUBLED and not batch_pays):
            continue
        tried = kept.with_switch(switch)
        pays = yield from _contest(kept, tried, rounds, past)
        kept = tried if pays else kept
        batch_pays = batch_pays and (pays or switch != DOUBLED)
    at_first_batch = replace(kept, batch=first.batch)
    if kept.batch > first.batch and not past.runs(at_first_batch.command):
        yield at_first_batch.command
    yield REPORT


def _template(kind: DeviceKind, chosen: Chosen) -> str:
    model, _, samples = START[kind]
    values = {"model": shlex.quote(chosen.model or model), "epochs": chosen.epochs or 2, "batch": "{batch}",
              "samples": f" --samples-per-epoch {chosen.samples or samples}"}  # fmt: skip
    return SINGLE.format(**values) + WITHOUT_ANATOMY


def _contest(kept: Standing, tried: Standing, rounds: int, past: Past) -> Contest:
    """Run both in turn; whether `tried` is the faster, beyond doubt. What was run before counts."""
    if past.newest_failure(tried.command) in ("out_of_memory", "exception"):
        return False
    for _ in range(rounds - len(past.pairs(kept.command, tried.command))):
        if _is_hopeless(past, kept, tried):
            return False
        if (yield kept.command) != "completed":
            raise UsageError(f"what stood so far fails now, and its record says why: {kept.command}")
        if (yield tried.command) != "completed":
            return False
    return past.is_rehearsal or _is_faster(past, kept, tried)


def _is_hopeless(past: Past, kept: Standing, tried: Standing) -> bool:
    """Whether a round has shown `tried` to be so much slower that further ones would only take time."""
    pairs = [[throughput(record) or 0.0 for record in pair] for pair in past.pairs(kept.command, tried.command)]
    return any(after < HOPELESS * before for before, after in pairs)


def _is_faster(past: Past, kept: Standing, tried: Standing) -> bool:
    # Imported this late, for it takes numpy and scipy with it, which nothing else here needs.
    from common.analysis.statistics.estimates import distinguishable, paired_ratio

    speeds = [[throughput(record) or 0.0 for record in pair] for pair in past.pairs(kept.command, tried.command)]
    seconds = [[1 / speed for speed in of_command] for of_command in zip(*speeds, strict=True)]
    quotient = paired_ratio(*seconds)
    return quotient.value > 1 and bool(distinguishable(quotient))
