"""What the lab's loop, clocks and checks cost: its epochs against bare ones over data that lies on the device already.

One process (one per device under torchrun) trains one model in turns, epoch by epoch:

- `bare`: the least loop that does the same work, over one batch that stays on the device;
- `lab`: the scripts' own loop over that same batch: its step, its clocks, its sums, its sampler of the GPUs;
- `loader`: the same with the lab's loader, a real DataLoader with its workers, its pinning and its copies;
- `timm`, with `--timm` where that package is there: a step as its `benchmark.py` takes it (new random targets, one
  synchronisation a step) with its own model of that name.

Neighbouring epochs meet the same machine, so that their quotients tell a percent where whole runs differ by ten. Prints
for each setting, with 95 % intervals, the speed of the lab's loop with its loader over that of the bare loop (goal: at
least 0.99), and its two parts: what measuring costs (bare seconds / lab's), and what feeding real batches costs (lab's
/ loader's: above all the copy to the GPU, which `--prefetch` hides).

    python benchmarks/harness_overhead.py                                             # settings of this machine
    python benchmarks/harness_overhead.py --gpus 0,1                                  # the same under DataParallel
    torchrun --standalone --nproc_per_node=2 benchmarks/harness_overhead.py           # the same under DDP
    python benchmarks/harness_overhead.py --pairs 5 -- --model resnet18 --batch-size 32   # one setting of your own
"""

import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DistributedSampler

from common.analysis.statistics.estimates import Estimate, paired_ratio
from common.command_line.options import read_options, training_parser
from common.command_line.parser import Parser, positive_int, start
from common.command_line.resolve import resolve
from common.console.screen import TrainingProgress, open_console
from common.machine.devices import (
    LocalDevices,
    barrier,
    default_workers,
    listed_devices,
    of_torchrun,
    one_device,
    rank_device,
)
from common.machine.precision import default_precision
from common.measuring.clocks import StepClock
from common.measuring.device_use import GpuSampler
from common.training.batch import Batch
from common.training.data import create_dataset
from common.training.data_parallel import EmulatedDataParallel
from common.training.distributed import ddp_kwargs, process_group
from common.training.loader import create_loader
from common.training.models import create_model, create_workload
from common.training.training import TrainedEpoch, Training, create_optimizer

train_step = import_module("02_baseline_single_gpu").train_step

GOAL = 0.99
SETTINGS = {
    "cpu": ["--model resnet18 --batch-size 32 --samples-per-epoch 256"],
    "cuda": [
        "--model resnet50 --batch-size 64 --samples-per-epoch 6400",
        "--model resnet50 --batch-size 256 --samples-per-epoch 25600 --precision bf16 --channels-last",
        "--model resnet50 --batch-size 256 --samples-per-epoch 25600 --precision bf16 --channels-last --prefetch",
        "--model resnet50 --batch-size 256 --samples-per-epoch 25600 --precision bf16 --channels-last --prefetch "
        "--compile --compile-mode reduce-overhead",
    ],
}


def main() -> int:
    """0 if every setting meets the goal."""
    parser = Parser(description=__doc__)
    parser.add_argument(
        "--pairs", type=positive_int, default=10, help="epochs of each kind, at least 2; Ctrl-C ends them early"
    )
    parser.add_argument("--gpus", help="DataParallel over these devices; the batch of a setting is per device")
    parser.add_argument("--timm", action="store_true", help="a step of timm's as well")
    parser.add_argument(
        "setting", nargs="*", help="flags of step 02 or 04, after --, in place of this machine's settings"
    )
    options = parser.parse_args()
    under_ddp = "RANK" in os.environ
    if options.gpus:
        devices = listed_devices("auto", options.gpus)
    else:
        devices = rank_device("auto", of_torchrun("LOCAL_RANK", 0)) if under_ddp else one_device("auto")
    settings = [shlex.join(options.setting)] if options.setting else SETTINGS[devices.kind]
    with process_group(devices, 600) if under_ddp else nullcontext():
        met = [compare(setting, devices, max(2, options.pairs), options.timm) for setting in settings]
    return int(not all(met))


def compare(setting: str, devices: LocalDevices, pairs: int, with_timm: bool) -> bool:
    """Time one setting and print what it says; whether it meets the goal."""
    training = prepare(setting, devices)
    resident = replace(training, loader=Resident(training))
    kinds = {
        "bare": lambda: bare_epoch(resident),
        "lab": lambda: watched_epoch(resident, devices),
        "loader": lambda: watched_epoch(training, devices),
    }
    if with_timm:
        kinds["timm"] = timm_epoch(resident)
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    with suppress(KeyboardInterrupt):  # then what there is counts
        for pair in range(-1, pairs):  # the first round warms up
            training.loader.sampler.set_epoch(pair + 2)
            for kind in list(kinds)[:: 1 if pair % 2 else -1]:
                devices.synchronize()
                barrier()
                started = perf_counter()
                kinds[kind]()
                devices.synchronize()
                barrier()
                if pair >= 0:
                    seconds[kind].append(perf_counter() - started)
    pairs = min(map(len, seconds.values()))
    seconds = {kind: times[:pairs] for kind, times in seconds.items()}
    parts = (("bare", "loader"), ("bare", "lab"), ("lab", "loader"))
    whole, measuring, data = (paired_ratio(seconds[one], seconds[other]) for one, other in parts)
    rate = len(resident.loader) * training.config.global_batch_size / (sum(seconds["bare"]) / pairs)
    if devices.rank == 0:
        parts = f"measuring {with_interval(measuring)}, loader {with_interval(data)}"
        print(f"{setting}, {pairs} pairs")
        print(f"  bare {rate:,.0f} samples/s; the lab's loop {with_interval(whole)} of it: {parts}", flush=True)
        if with_timm:
            print(
                f"  timm's step {with_interval(paired_ratio(seconds['lab'], seconds['timm']))} of the lab's speed",
                flush=True,
            )
    return whole.value >= GOAL


def watched_epoch(training: Training, devices: LocalDevices) -> None:
    """An epoch as a run measures it, with all that is going on beside it."""
    sampler = GpuSampler(devices.indices if devices.kind == "cuda" else ())
    sampler.start()
    progress = TrainingProgress(open_console(devices.rank, quiet=True))
    progress.phase("epoch", len(training.loader))
    epoch = TrainedEpoch()

    def after_step(micro_batches: Sequence[Batch]) -> None:
        epoch.add_step(micro_batches)
        progress.advance()

    for micro_batches in StepClock(devices).time_steps(training.steps_of(training.loader), after_step):
        epoch.log(train_step(training, micro_batches))
    epoch.read_losses()
    progress.close()
    sampler.stop()


def timm_epoch(training: Training) -> Callable[[], None]:
    """An epoch of steps as timm's `TrainBenchmarkRunner` takes them (benchmark.py), in the precision of `training`."""
    import timm

    config, device = training.config, training.device
    memory = torch.channels_last if config.memory_format == "channels_last" else torch.contiguous_format
    model = timm.create_model(config.model, num_classes=config.num_classes).to(device, memory_format=memory).train()
    if config.compile:
        model.compile()
    optimizer = torch.optim.SGD(
        model.parameters(), lr=config.learning_rate, momentum=config.momentum, weight_decay=config.weight_decay
    )
    size = (config.per_device_batch_size, 3, config.image_size, config.image_size)
    images = torch.randn(size, device=device).contiguous(memory_format=memory)
    criterion = nn.CrossEntropyLoss()
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16")

    def epoch() -> None:
        for _ in range(len(training.loader)):
            optimizer.zero_grad()
            with autocast:
                logits = model(images)
                targets = torch.empty(len(images), device=device, dtype=torch.long).random_(config.num_classes)
                criterion(logits, targets).backward()
            optimizer.step()
            torch.accelerator.synchronize() if device.type != "cpu" else None

    return epoch


def with_interval(quotient: Estimate) -> str:
    low, high = quotient.interval
    return f"{quotient.value:.3f} ({low:.3f} to {high:.3f})"


def prepare(setting: str, devices: LocalDevices) -> Training:
    """The training that step 02 (or 04, under torchrun) would make of these flags."""
    method = "ddp" if devices.world.backend else "dp" if len(devices.indices) > 1 else "single"
    options = read_options(training_parser(method), shlex.split(setting))
    if method == "dp":
        options = options.model_copy(update={"batch_size": options.batch_size * len(devices.indices)})
    config = resolve(options, devices.world, default_precision(devices.kind), default_workers(devices.kind))
    workload = create_workload(config)
    model: nn.Module = create_model(workload, config, devices)
    if config.ddp:
        if devices.kind == "cuda":
            torch.cuda.set_device(devices.device)
        model = DistributedDataParallel(model, device_ids=devices.device_ids, **ddp_kwargs(config.ddp))
    elif method == "dp":
        parallel = nn.DataParallel if devices.kind == "cuda" else EmulatedDataParallel
        model = parallel(model, device_ids=devices.indices)
    if config.compile:
        model.compile(mode=config.compile_mode)
    dataset = create_dataset(workload, config)
    processes = devices.world.processes
    sampler = DistributedSampler(dataset, num_replicas=processes, rank=devices.rank, seed=config.seed, drop_last=True)
    loader = create_loader(dataset, sampler, config, devices)
    return Training(train_step, model, create_optimizer(model, config), loader, config)


class Resident:
    """In place of a loader: the same batch, which stays on the device, as often as the loader has batches."""

    def __init__(self, training: Training) -> None:
        first = next(iter(training.loader))
        self.batch = Batch(*first.to(training.device), first.indices)
        self.count = len(training.loader)

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Batch]:
        return iter([self.batch] * self.count)


def bare_epoch(training: Training) -> None:
    """The least loop that trains the same model on the same batch: nothing timed, nothing summed up."""
    inputs, targets, *_ = training.loader.batch
    for _ in range(len(training.loader)):
        loss = training.module.loss(training.model(inputs), targets)
        loss.backward()
        training.optimizer.step()
        training.optimizer.zero_grad(set_to_none=True)


if __name__ == "__main__":
    start(main)
