"""What each campaign launches, as commands that a person could type: `python -m common.campaigns lab --dry-run`.

A campaign is a list of commands, run in rounds: each command once, then all of them again, in an order that is drawn
anew (`orders.py`). The runs of one round are a pair.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from common.campaigns.orders import drawn_orders
from common.campaigns.progress import History
from common.command_line.commands import default_count
from common.command_line.host_checks import startable
from common.messages import Message, message
from common.records import METHODS, DdpOptions, DeviceKind, Environment, Method, has_option, settings_of

CHECK = "python 01_environment_check.py --quiet"
QUICK_CHECK = f"{CHECK} --no-benchmark"
REPORT = (
    "python 05_performance_comparison.py --results-dir ./results --generate-plots "
    "--output-report comparison_report.html"
)
PUBLISHED = [name for name, method in METHODS.items() if not method.variant_of]
"""Methods of the published exercise: steps 02, 03 and 04, without a flag of the lab's own."""
NO_PROFILE, QUIET = " --anatomy-steps 0", " --quiet"

COMM_HOOKS: dict[DeviceKind, tuple[str, ...]] = {
    "cuda": (" --comm-hook fp16", " --comm-hook bf16", " --comm-hook powersgd --one-bucket"),
    "cpu": (" --comm-hook fp16", " --comm-hook powersgd --one-bucket"),
}
EXCHANGES_BY_HAND = ("", " --exchange per-parameter", " --exchange flat", " --exchange overlapped")
OWN_EXCHANGE = (" --exchange per-parameter", " --exchange mine")


@dataclass(frozen=True)
class Overrides:
    """What the command line says; None leaves it to the campaign. The Makefile's variables have the same names."""

    model: str | None = None
    batch: int | None = None
    epochs: int | None = None
    devices: int | None = None
    samples: int | None = None
    repeats: int | None = None
    tolerance: float | None = None
    minutes: float | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Sizes:
    """What one launch trains."""

    model: str
    batch: int
    """Samples per device."""
    epochs: int
    samples: int = 0
    """Of an epoch, at least; 0, where there are no `steps` either, leaves them to the scripts."""
    steps: int = 0
    """An epoch has samples for so many steps of all devices together."""

    def chosen(self, overrides: Overrides, devices: int) -> Sizes:
        """The same with what the command line says, for so many devices; `samples` is then an epoch's size."""
        batch = overrides.batch or self.batch
        samples = overrides.samples or max(self.samples, self.steps * batch * devices)
        return Sizes(overrides.model or self.model, batch, overrides.epochs or self.epochs, samples)

    def command(self, method: Method, devices: int = 1, flags: str = "") -> str:
        """The launch of it."""
        batch = self.batch * devices if METHODS[method].has_replicas else self.batch
        words = f"--model {shlex.quote(self.model)} --batch-size {batch} --epochs {self.epochs}"
        samples = f" --samples-per-epoch {self.samples}" if self.samples else ""
        return startable(METHODS[method].command(words + samples, devices)) + flags


def _each_step(here: Environment) -> list[tuple[Method, str]]:
    """Step 02, 03 and 04 as they are published."""
    return [(method, "") for method in PUBLISHED]


def _each_method(here: Environment) -> list[tuple[Method, str]]:
    """And, on several GPUs, DataParallel with kept threads."""
    return _each_step(here) + ([("dp_kept_threads", "")] if len(here.gpus) > 1 else [])


def _each_option(here: Environment) -> list[tuple[Method, str]]:
    """DDP's default options, then each one that is on or off the other way round, then each compression."""
    switched = [
        " ".join(["", *declared.words(not declared.usual)])
        for declared in settings_of(DdpOptions).values()
        if isinstance(declared.usual, bool)
        and (here.gpus or not declared.needs_gpus)
        and (declared.since is None or has_option(here.torch, declared.since))
    ]
    return [("ddp", NO_PROFILE + option) for option in ["", *switched, *COMM_HOOKS["cuda" if here.gpus else "cpu"]]]


Outcome = Literal["completed", "out_of_memory", "failed"]


class PlannedLaunch(NamedTuple):
    """A launch that is to come."""

    command: str
    place: tuple[int, int] | None = None
    """Its round, and where it stands there; the page stands in none."""
    heading: Message | None = None
    progress: Message | None = None
    """The time that is gone, and left; None: what is gone."""


Plan = Generator[PlannedLaunch, Outcome, None]
"""The launches of a campaign, one after another. It hears how each ended before it says the next one."""


@dataclass(frozen=True)
class AdaptiveCampaign:
    """Launches in rounds, each chosen by how those before it ended: a batch that did not fit, a switch that paid."""

    purpose: Message
    plan: Callable[[Environment, Overrides, int, History], Plan]
    """On a machine, with the command line's overrides and the seed of the orders, after what was run before."""
    budget: dict[DeviceKind, float]
    """Seconds from start to end, as far as past launches tell; not where the command line says how many rounds."""
    survives: tuple[Outcome, ...]
    """How a launch may end without ending the campaign."""
    check, report = QUICK_CHECK, REPORT


@dataclass(frozen=True)
class RoundCampaign:
    """The same launches in every round."""

    purpose: Message
    sizes: dict[DeviceKind, Sizes]
    launches: Callable[[Environment], list[tuple[Method, str]]] = _each_method
    """Of a round on a machine, in the order of the lesson: a method, and the flags that go with the sizes."""
    check: str = QUICK_CHECK
    """Comes first: how many devices there are is read from the record that it writes."""
    report: str = REPORT
    """Writes the page: after the first round without a word, and at the end with what it says."""
    first: str = QUIET
    """Added to each launch of the first round: a campaign says two lines for each, and a step only what goes wrong."""
    later: str = QUIET
    """Added to each launch of the second round and those after it."""
    repeats: int = 3
    """Three rounds give intervals between runs."""
    tolerance: float | None = None
    """Rounds go on until each ratio's half interval is at most so many percent; None: there are `repeats` of them."""
    minutes: float = 5
    """Unless the command line says how many rounds, none starts later than so many minutes after the campaign."""
    max_devices: int | None = None
    survives = ()

    def devices(self, here: Environment, overrides: Overrides) -> int:
        """How many steps 03 and 04 train on."""
        return overrides.devices or min(default_count(here), self.max_devices or default_count(here))

    def commands(self, here: Environment, overrides: Overrides) -> list[str]:
        """The first round's launches on this machine, in the order of the lesson."""
        devices = self.devices(here, overrides)
        sizes = self.sizes["cuda" if here.gpus else "cpu"].chosen(overrides, devices)
        return [sizes.command(method, devices, flags) for method, flags in self.launches(here)]

    def rounds(self, here: Environment, overrides: Overrides, seed: int) -> Iterator[list[str]]:
        """Round after round, without end, each in its order."""
        commands, more = self.commands(here, overrides), self.first
        for order in drawn_orders(len(commands), seed):
            yield [commands[index] + more for index in order]
            more = self.later


LAB_GPU, LAB_CORES = Sizes("resnet50", batch=64, epochs=2), Sizes("resnet18", batch=16, epochs=2)
# Sizes differ between campaigns, so that step 05 does not pool a launch of one with a launch of another.
CAMPAIGNS = {
    "lab": RoundCampaign(
        message("one device, DataParallel and DistributedDataParallel, with sizes that give a first page in minutes"),
        # 80 measured steps of all devices: enough for an interval within a run. A pilot (`pilot.py`) makes them more
        # where the GPU is quick.
        sizes={"cuda": replace(LAB_GPU, steps=40, samples=5120), "cpu": replace(LAB_CORES, epochs=3, steps=4)},
        check=CHECK,
        report=f"{REPORT} --lang both --brief",
        later=NO_PROFILE + QUIET,  # once is enough, and on CPU cores it takes longer than the epochs
        tolerance=3,
    ),
    "sweep": RoundCampaign(
        message("step 04 with the default options of DDP, then with each other one"),
        sizes={"cuda": replace(LAB_GPU, steps=100), "cpu": replace(LAB_CORES, steps=5)},
        launches=_each_option,
        minutes=15,
    ),
    "exchanges": RoundCampaign(
        message("step 04 with torch's DDP, then with each exchange that is built by hand"),
        sizes={"cuda": replace(LAB_GPU, steps=60), "cpu": replace(LAB_CORES, steps=6)},
        launches=lambda here: [("ddp", exchange) for exchange in EXCHANGES_BY_HAND],
        later=NO_PROFILE + QUIET,
    ),
    "my_exchange": RoundCampaign(
        message("step 04 with the exchange of lessons/build_your_own_ddp.py, and with one all-reduce per parameter"),
        sizes={"cuda": replace(LAB_GPU, steps=50), "cpu": replace(LAB_CORES, steps=7)},
        launches=lambda here: [("ddp", exchange) for exchange in OWN_EXCHANGE],
        repeats=5,
        later=NO_PROFILE + QUIET,
    ),
    "exercise": RoundCampaign(
        message("the published exercise: its commands, with its sizes, on its four devices or as many as there are"),
        sizes={"cuda": replace(LAB_GPU, epochs=5), "cpu": replace(LAB_GPU, epochs=5)},
        check=CHECK.removesuffix(QUIET),
        first="",
        launches=_each_step,
        repeats=1,
        max_devices=4,
    ),
}
