"""What the lab's loop, clocks and checks cost: its epochs against bare ones over data that lies on the device already.

One process (one per device under torchrun) trains one model in turns, epoch by epoch:

- `bare`: the least loop that does the same work, over one batch that stays on the device;
- `lab`: the lab's own `measured_epoch` over that same batch: its step, its clocks, its sums;
- `loader`: the same with the lab's loader, a real DataLoader with its workers, its pinning and its copies.

Neighbouring epochs meet the same machine, so that their quotients tell a percent where whole runs differ by ten. Prints
bare seconds / lab's and lab's / loader's for each setting, with 95 % intervals. Goal of the first: at least 0.99.
The second is what a user's data path costs, and no fault of the measuring.

    python benchmarks/harness_overhead.py                                             # settings of this machine
    torchrun --standalone --nproc_per_node=2 benchmarks/harness_overhead.py           # the same under DDP
    python benchmarks/harness_overhead.py --pairs 5 -- --model resnet18 --batch-size 32   # one setting of your own
"""

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from common.analysis.statistics.estimates import Estimate, paired_ratio
from common.command_line.flags import add_ddp_options, training_parser
from common.command_line.parser import Parser, positive_int, start
from common.command_line.resolve import resolve
from common.machine import devices
from common.machine.devices import Place
from common.machine.ranks import barrier
from common.measuring.clocks import StepClock
from common.training.batch import Batch
from common.training.data import EpochSampler, create_dataset, create_loader
from common.training.distributed import changing_arguments, gradient_bytes, process_group
from common.training.epoch import measured_epoch
from common.training.models import create_model
from common.training.step import Training

GOAL = 0.99
SETTINGS = {
    "cpu": ["--model resnet18 --batch-size 32 --samples-per-epoch 256"],
    "cuda": [
        "--model resnet50 --batch-size 64 --samples-per-epoch 6400",
        "--model resnet50 --batch-size 64 --samples-per-epoch 6400 --precision bf16 --channels-last",
        "--model resnet50 --batch-size 256 --samples-per-epoch 12800 --precision bf16 --channels-last",
        "--model resnet50 --batch-size 256 --samples-per-epoch 12800 --precision bf16 --channels-last --compile",
    ],
}


def main() -> int:
    """0 if every setting meets the goal."""
    parser = Parser(description=__doc__)
    parser.add_argument("--pairs", type=positive_int, default=6, help="epochs of each kind, at least 2")
    parser.add_argument(
        "setting", nargs="*", help="flags of step 02 or 04, after --, in place of this machine's settings"
    )
    options = parser.parse_args()
    under_ddp = "RANK" in os.environ
    place = devices.rank_device("auto") if under_ddp else devices.one_device("auto")
    settings = [shlex.join(options.setting)] if options.setting else SETTINGS[place.kind]
    with process_group(place, 600) if under_ddp else nullcontext():
        met = [compare(setting, place, max(2, options.pairs)) for setting in settings]
    return int(not all(met))


def compare(setting: str, place: Place, pairs: int) -> bool:
    """Time one setting and print what it says; whether it meets the goal."""
    training = prepare(setting, place)
    resident = Training(training.model, training.optimizer, Resident(training), training.config)
    kinds = {
        "bare": lambda: bare_epoch(resident),
        "lab": lambda: measured_epoch(resident, StepClock(place), lambda step: None),
        "loader": lambda: measured_epoch(training, StepClock(place), lambda step: None),
    }
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    for pair in range(-1, pairs):  # the first round warms up
        training.loader.sampler.set_epoch(pair + 2)
        for kind in kinds if pair % 2 else reversed(kinds):
            place.synchronize()
            barrier()
            started = perf_counter()
            kinds[kind]()
            place.synchronize()
            barrier()
            if pair >= 0:
                seconds[kind].append(perf_counter() - started)
    harness, data = paired_ratio(seconds["bare"], seconds["lab"]), paired_ratio(seconds["lab"], seconds["loader"])
    rate = len(resident.loader) * training.config.global_batch_size / (sum(seconds["bare"]) / pairs)
    if place.rank == 0:
        print(
            f"{setting}\n  bare {rate:,.0f} samples/s; lab {told(harness)} of it; with the loader {told(data)} of that",
            flush=True,
        )
    return harness.value >= GOAL


def told(quotient: Estimate) -> str:
    low, high = quotient.interval
    return f"{quotient.value:.3f} ({low:.3f} to {high:.3f})"


def prepare(setting: str, place: Place) -> Training:
    """The training that step 02 (or 04, under torchrun) would make of these flags."""
    parser = training_parser("ddp" if place.world.backend else "single", "", "")
    if place.world.backend:
        add_ddp_options(parser)
    options = parser.read(shlex.split(setting))
    config = resolve(options, place.world, devices.default_precision(place.kind), devices.default_workers(place.kind))
    model: nn.Module = create_model(config, place)
    if config.ddp:
        arguments = changing_arguments(config.ddp, gradient_bytes(model))
        model = DistributedDataParallel(
            model,
            device_ids=[place.first] if place.kind == "cuda" else None,
            gradient_as_bucket_view=config.ddp.gradient_as_bucket_view,
            **arguments,
        )
    if config.compile:
        model.compile()
    dataset = create_dataset(config)
    processes = place.world.processes
    sampler = EpochSampler(dataset, num_replicas=processes, rank=place.rank, seed=config.seed, drop_last=True)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=config.learning_rate, momentum=config.momentum, weight_decay=config.weight_decay
    )
    return Training(model, optimizer, create_loader(dataset, sampler, config, place), config)


class Resident:
    """In place of a loader: the same batch, which stays on the device, as often as the loader has batches."""

    def __init__(self, training: Training) -> None:
        first = next(iter(training.loader))
        self.batch = Batch(first.images.to(training.device), first.labels.to(training.device), first.indices)
        self.count = len(training.loader)

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Batch]:
        return iter([self.batch] * self.count)


def bare_epoch(training: Training) -> None:
    """The least loop that trains the same model on the same batch: nothing timed, nothing summed up."""
    images, labels, *_ = training.loader.batch
    for _ in range(len(training.loader)):
        loss = training.classifier.loss(training.model(images), labels)
        loss.backward()
        training.optimizer.step()
        training.optimizer.zero_grad(set_to_none=True)


if __name__ == "__main__":
    start(main)
