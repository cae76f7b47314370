"""What each campaign launches, as commands that a person could type: `python -m common.campaigns lab --dry-run`.

A campaign is a list of commands, run in rounds: each command once, then all of them again. A machine that slows down
then slows every command, and the runs of one round are a pair. Words in {braces} are filled in for the machine.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field

from common.command_line.commands import default_count
from common.command_line.own_host import startable
from common.records import NEWER_OPTIONS, DeviceKind, Environment, has_option

CHECK = "python 01_environment_check.py"
REPORT = (
    "python 05_performance_comparison.py --results-dir ./results --generate-plots "
    "--output-report comparison_report.html"
)
SINGLE = "python 02_baseline_single_gpu.py --model {model} --batch-size {batch} --epochs {epochs}{samples}"
DP = (
    "python 03_dataparallel_training.py "
    "--model {model} --batch-size {global_batch} --epochs {epochs}{samples} --gpus {gpus}"
)
DDP = (
    "torchrun --standalone --nproc_per_node={devices} 04_ddp_training.py "
    "--model {model} --batch-size {batch} --epochs {epochs}{samples}"
)
WITHOUT_ANATOMY = " --anatomy-steps 0"

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


@dataclass(frozen=True)
class Chosen:
    """What the command line says; None leaves it to the campaign. The Makefile's variables have the same names."""

    model: str | None = None
    batch: int | None = None
    epochs: int | None = None
    devices: int | None = None
    samples: int | None = None
    repeats: int | None = None


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
    """Ends each round."""
    later: str = ""
    """Added to each launch of the second round and those after it."""
    repeats: int = 3
    """Three rounds give intervals between runs."""
    last_start: float = 300
    """Unless the command line says how many rounds, none starts later than so many seconds after the campaign."""
    max_devices: int | None = None

    def rounds(self, here: Environment, chosen: Chosen) -> list[list[str]]:
        """The commands of each round on this machine; step 05 ends it, so that the page fills while one waits."""
        kind: DeviceKind = "cuda" if here.gpus else "cpu"
        sizes = self.sizes[kind]
        devices = chosen.devices or min(default_count(here), self.max_devices or default_count(here))
        batch = chosen.batch or sizes.batch
        samples = chosen.samples or max(sizes.min_samples, sizes.steps * batch * devices)
        values = {
            "model": shlex.quote(chosen.model or sizes.model),
            "batch": batch,
            "global_batch": batch * devices,
            "epochs": chosen.epochs or sizes.epochs,
            "samples": f" --samples-per-epoch {samples}" if samples else "",
            "devices": devices,
            "gpus": ",".join(map(str, range(devices))),
        }
        newer = tuple(template for template, since in self.newer_round.items() if has_option(here.torch, since))
        templates = self.round + newer + (self.gpu_round if here.gpus else ())
        first = [startable(template.format(**values)) for template in templates]
        later = [command + self.later for command in first]
        return [[*first, self.report]] + [[*later, self.report]] * ((chosen.repeats or self.repeats) - 1)


# Sizes differ between campaigns, so that step 05 does not pool a launch of one with a launch of another.
CAMPAIGNS = {
    "lab": Campaign(
        purpose="one device, DataParallel and DistributedDataParallel, with sizes that give a first page in minutes",
        round=(SINGLE, DP, DDP),
        sizes={
            # 80 measured steps of all devices: enough for an interval within a run, in epochs so long that the wait for
            # the first batch of each hardly counts. On two H100s a round trains for 19 s; all else in a launch takes
            # 12 to 27 s.
            "cuda": Sizes("resnet50", batch=64, epochs=2, steps=40, min_samples=5120),
            "cpu": Sizes("resnet18", batch=16, epochs=3, steps=4),
        },
        report=f"{REPORT} --lang both",
        later=WITHOUT_ANATOMY,  # once is enough, and on CPU cores it takes longer than the epochs
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
        last_start=900,
    ),
    "exchanges": Campaign(
        purpose="step 04 with torch's DDP, then with each exchange that is built by hand",
        check=f"{CHECK} --no-benchmark",
        round=tuple(DDP + exchange for exchange in EXCHANGES_BY_HAND),
        sizes={
            "cuda": Sizes("resnet50", batch=64, epochs=2, steps=60),
            "cpu": Sizes("resnet18", batch=16, epochs=2, steps=6),
        },
        later=WITHOUT_ANATOMY,
    ),
    "exercise": Campaign(
        purpose="the published exercise: its commands, with its sizes, on its four devices or as many as there are",
        round=(SINGLE, DP, DDP),
        sizes={kind: Sizes("resnet50", batch=64, epochs=5) for kind in ("cuda", "cpu")},
        repeats=1,
        max_devices=4,
    ),
}
