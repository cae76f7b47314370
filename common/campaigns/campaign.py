"""What each campaign launches: `python -m common.campaigns lab --dry-run` prints it.

A campaign is a list of commands, run in rounds: each command once, then all of them again, in an order that is drawn
anew (`drawn_orders`). The runs of one round are a pair.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from common.campaigns.adaptive import over_batches, up_the_ladder
from common.campaigns.launches import (
    NO_PROFILE,
    PUBLISHED,
    QUIET,
    REPORT,
    USUAL_SIZES,
    FailureKind,
    History,
    Overrides,
    Plan,
    Sizes,
    drawn_orders,
)
from common.command_line.commands import default_count
from common.messages import Message, message
from common.records import DdpOptions, DeviceKind, Environment, Method, has_option, settings_of

CHECK = "python 01_environment_check.py --quiet"
QUICK_CHECK = f"{CHECK} --no-benchmark"
MAX_DEVICES = 256
"""That one machine could have."""


@dataclass(frozen=True)
class AdaptiveCampaign:
    """Launches in rounds, each chosen by how those before it ended: a batch that did not fit, a switch that paid."""

    purpose: Message
    plan: Callable[[Environment, Overrides, int, History], Plan]
    """On a machine, with the command line's overrides and the seed of the orders, after what was run before."""
    minutes: dict[DeviceKind, float]
    """From start to end, as far as past launches tell; not where the command line says how many rounds."""
    survives: tuple[FailureKind, ...]
    """How a launch may fail without ending the campaign."""
    check, report = QUICK_CHECK, REPORT

    def rehearsed(self, here: Environment, overrides: Overrides, seed: int) -> list[str]:
        """Every command, as if each of them completed and paid."""
        return [command for command, _ in self.plan(here, overrides, seed, History(None, here))]


@dataclass(frozen=True)
class RoundCampaign:
    """The same launches in every round."""

    purpose: Message
    sizes: dict[DeviceKind, Sizes]
    launches: Callable[[Environment], list[tuple[Method, str]]]
    """Of a round on a machine, in the order of the lesson: a method, and the flags that go with the sizes."""
    check: str = QUICK_CHECK
    """Comes first: how many devices there are is read from the record that it writes."""
    report: str = REPORT
    """Writes the page: after the first round without a word, and at the end with what it says."""
    first: str = QUIET
    """Added to each launch of the first round: a campaign says two lines for each, and a step only what goes wrong."""
    later: str = NO_PROFILE + QUIET
    """Of the second round and those after it. One profile is enough; on CPU cores it takes longer than the epochs."""
    repeats: int = 3
    """Three rounds give intervals between runs."""
    tolerance: float | None = None
    """Rounds go on until each ratio's half interval is at most so many percent; None: there are `repeats` of them."""
    minutes: float = 5
    """Unless the command line says how many rounds, none starts later than so many minutes after the campaign."""
    max_devices: int = MAX_DEVICES

    def devices(self, here: Environment, overrides: Overrides) -> int:
        """How many steps 03 and 04 train on."""
        return overrides.devices or min(default_count(here), self.max_devices)

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


COMM_HOOKS: dict[DeviceKind, tuple[str, ...]] = {
    "cuda": (" --comm-hook fp16", " --comm-hook bf16", " --comm-hook powersgd --one-bucket"),
    "cpu": (" --comm-hook fp16", " --comm-hook powersgd --one-bucket"),
}


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


def _each_exchange(*names: str) -> Callable[[Environment], list[tuple[Method, str]]]:
    """Step 04 with torch's DDP, `ddp`, or one that is built by hand."""
    return lambda here: [("ddp", f" --exchange {name}" if name != "ddp" else "") for name in names]


GPUS, CORES = USUAL_SIZES["cuda"], USUAL_SIZES["cpu"]
CAMPAIGNS: dict[str, RoundCampaign | AdaptiveCampaign] = {
    "lab": RoundCampaign(
        message("one device, DataParallel and DistributedDataParallel, with sizes that give a first page in minutes"),
        # 80 measured steps of all devices: enough for an interval within a run. A pilot (`rounds.py`) makes them more
        # where the GPU is quick.
        sizes={"cuda": replace(GPUS, steps=40, samples=5120), "cpu": replace(CORES, epochs=3, steps=4)},
        # On several GPUs DataParallel with kept threads comes, too.
        launches=lambda here: [
            (method, "") for method in PUBLISHED + (["dp_kept_threads"] if len(here.gpus) > 1 else [])
        ],
        check=CHECK,
        report=f"{REPORT} --lang both --brief",
        tolerance=3,
    ),
    "sweep": RoundCampaign(
        message("step 04 with the default options of DDP, then with each other one"),
        sizes={"cuda": replace(GPUS, steps=100), "cpu": replace(CORES, steps=5)},
        launches=_each_option,
        later=QUIET,
        minutes=15,
    ),
    "exchanges": RoundCampaign(
        message("step 04 with torch's DDP, then with each exchange that is built by hand"),
        sizes={"cuda": replace(GPUS, steps=60), "cpu": replace(CORES, steps=6)},
        launches=_each_exchange("ddp", "per-parameter", "flat", "overlapped"),
    ),
    "my_exchange": RoundCampaign(
        message("step 04 with the exchange of lessons/build_your_own_ddp.py, and with one all-reduce per parameter"),
        sizes={"cuda": replace(GPUS, steps=50), "cpu": replace(CORES, steps=7)},
        launches=_each_exchange("per-parameter", "mine"),
        repeats=5,
    ),
    "exercise": RoundCampaign(
        message("the published exercise: its commands, with its sizes, on its four devices or as many as there are"),
        sizes={"cuda": replace(GPUS, epochs=5), "cpu": replace(GPUS, epochs=5)},
        check=CHECK.removesuffix(QUIET),
        first="",
        later=QUIET,
        launches=lambda here: [(method, "") for method in PUBLISHED],
        repeats=1,
        max_devices=4,
    ),
    "crossover": AdaptiveCampaign(
        message("one device, DataParallel and DistributedDataParallel over batches, as far as memory and time reach"),
        plan=over_batches,
        minutes={"cuda": 6, "cpu": 5},
        survives=("out_of_memory",),
    ),
    "ladder": AdaptiveCampaign(
        message("step 02 with one switch after another, each kept only if its interval says that it pays"),
        plan=up_the_ladder,
        minutes={"cuda": 20, "cpu": 10},  # a trial takes three rounds of two launches
        survives=("out_of_memory", "failed"),
    ),
}
