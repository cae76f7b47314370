"""What each campaign launches, as commands that a person could type: `python -m common.campaigns lab --dry-run`.

A campaign is a list of commands, run in rounds: each command once, then all of them again, in an order that is drawn
anew (`orders.py`). The runs of one round are a pair. Words in {braces} are filled in for the machine.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field

from common.campaigns.orders import drawn_orders
from common.command_line.commands import default_count
from common.command_line.host_checks import startable
from common.records import METHODS, NEWER_OPTIONS, DeviceKind, Environment, TrainingMethod, has_option

CHECK = "python 01_environment_check.py"
REPORT = (
    "python 05_performance_comparison.py --results-dir ./results --generate-plots "
    "--output-report comparison_report.html"
)


def _launch(method: TrainingMethod) -> str:
    starter = f"torchrun --standalone {method.devices_flag}={{devices}}" if method.launcher == "torchrun" else "python"
    batch, more = ("{global_batch}", f" {method.devices_flag} {{gpus}}") if method.has_replicas else ("{batch}", "")
    sizes = f"--model {{model}} --batch-size {batch} --epochs {{epochs}}{{samples}}"
    return f"{starter} {method.script} {sizes}{more}{method.flags and ' '}{method.flags}"


LAUNCHES = {method.name: _launch(method) for method in METHODS.values()}
SINGLE, DDP = LAUNCHES["single"], LAUNCHES["ddp"]
WITHOUT_ANATOMY, QUIET = " --anatomy-steps 0", " --quiet"

DDP_OPTIONS = (
    "",
    " --no-gradient-as-bucket-view",
    " --static-graph",
    " --find-unused-parameters",
    " --broadcast-buffers",
    " --one-bucket",
    " --comm-hook fp16",
    " --comm-hook powersgd --one-bucket",
)
GPU_DDP_OPTIONS = (" --sync-bn", " --comm-hook bf16")
EXCHANGES_BY_HAND = ("", " --exchange per-parameter", " --exchange flat", " --exchange overlapped")


@dataclass(frozen=True)
class Sizes:
    """What one launch trains on one kind of device, where the command line is silent."""

    model: str
    batch: int
    """Samples per device."""
    epochs: int
    steps: int = 0
    """An epoch has samples for so many steps of all devices together; 0 leaves its size to the scripts."""
    min_samples: int = 0
    """An epoch has at least so many samples."""

    def chosen_for(self, chosen: Chosen, devices: int) -> Sizes:
        """The same with what the command line says, for so many devices; `min_samples` is then an epoch's size."""
        batch = chosen.batch or self.batch
        samples = chosen.samples or max(self.min_samples, self.steps * batch * devices)
        return Sizes(chosen.model or self.model, batch, chosen.epochs or self.epochs, min_samples=samples)


@dataclass(frozen=True)
class Chosen:
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
class Campaign:
    """Launches in rounds, with a purpose."""

    purpose: str
    round: tuple[str, ...]
    sizes: dict[DeviceKind, Sizes]
    check: str = CHECK
    """Comes before the first round: how many devices there are is read from the record that it writes."""
    gpu_round: tuple[str, ...] = ()
    """Further launches of a round, where the devices are GPUs."""
    newer_round: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Further launches, where torch is of this version or newer."""
    report: str = REPORT
    """Writes the page: after the first round without a word, and at the end with the whole summary."""
    later: str = QUIET
    """Added to each launch of the second round and those after it."""
    repeats: int = 3
    """Three rounds give intervals between runs."""
    tolerance: float | None = None
    """Rounds go on until each ratio's half interval is at most so many percent; None: there are `repeats` of them."""
    minutes: float = 5
    """Unless the command line says how many rounds, none starts later than so many minutes after the campaign."""
    max_devices: int | None = None

    def devices(self, here: Environment, chosen: Chosen) -> int:
        """How many steps 03 and 04 train on."""
        return chosen.devices or min(default_count(here), self.max_devices or default_count(here))

    def commands(self, here: Environment, chosen: Chosen) -> list[str]:
        """The first round's launches on this machine, in the order of the lesson."""
        devices = self.devices(here, chosen)
        sizes = self.sizes["cuda" if here.gpus else "cpu"].chosen_for(chosen, devices)
        values = {
            "model": shlex.quote(sizes.model),
            "batch": sizes.batch,
            "global_batch": sizes.batch * devices,
            "epochs": sizes.epochs,
            "samples": f" --samples-per-epoch {sizes.min_samples}" if sizes.min_samples else "",
            "devices": devices,
            "gpus": ",".join(map(str, range(devices))),
        }
        newer = tuple(template for template, since in self.newer_round.items() if has_option(here.torch, since))
        templates = self.round + newer + (self.gpu_round if here.gpus else ())
        return [startable(template.format(**values)) for template in templates]

    def rounds(self, here: Environment, chosen: Chosen, seed: int) -> Iterator[list[str]]:
        """Round after round, without end, each in its order."""
        commands, more = self.commands(here, chosen), ""
        for order in drawn_orders(len(commands), seed):
            yield [commands[index] + more for index in order]
            more = self.later


# Sizes differ between campaigns, so that step 05 does not pool a launch of one with a launch of another.
CAMPAIGNS = {
    "lab": Campaign(
        purpose="one device, DataParallel and DistributedDataParallel, with sizes that give a first page in minutes",
        round=tuple(LAUNCHES.values()),
        sizes={
            # 80 measured steps of all devices: enough for an interval within a run. A pilot (`pilot.py`) makes them
            # more where the GPU is quick.
            "cuda": Sizes("resnet50", batch=64, epochs=2, steps=40, min_samples=5120),
            "cpu": Sizes("resnet18", batch=16, epochs=3, steps=4),
        },
        report=f"{REPORT} --lang both",
        later=WITHOUT_ANATOMY + QUIET,  # once is enough, and on CPU cores it takes longer than the epochs
        tolerance=3,
    ),
    "sweep": Campaign(
        purpose="step 04 with the default options of DDP, then with each other one",
        check=f"{CHECK} --no-benchmark",
        round=tuple(DDP + WITHOUT_ANATOMY + options for options in DDP_OPTIONS),
        newer_round={
            f"{DDP}{WITHOUT_ANATOMY} --{name.replace('_', '-')}": since for name, since in NEWER_OPTIONS.items()
        },
        gpu_round=tuple(DDP + WITHOUT_ANATOMY + options for options in GPU_DDP_OPTIONS),
        sizes={
            "cuda": Sizes("resnet50", batch=64, epochs=2, steps=100),
            "cpu": Sizes("resnet18", batch=16, epochs=2, steps=5),
        },
        minutes=15,
    ),
    "exchanges": Campaign(
        purpose="step 04 with torch's DDP, then with each exchange that is built by hand",
        check=f"{CHECK} --no-benchmark",
        round=tuple(DDP + exchange for exchange in EXCHANGES_BY_HAND),
        sizes={
            "cuda": Sizes("resnet50", batch=64, epochs=2, steps=60),
            "cpu": Sizes("resnet18", batch=16, epochs=2, steps=6),
        },
        later=WITHOUT_ANATOMY + QUIET,
    ),
    "exercise": Campaign(
        purpose="the published exercise: its commands, with its sizes, on its four devices or as many as there are",
        round=tuple(LAUNCHES.values()),
        sizes={kind: Sizes("resnet50", batch=64, epochs=5) for kind in ("cuda", "cpu")},
        repeats=1,
        max_devices=4,
    ),
}
