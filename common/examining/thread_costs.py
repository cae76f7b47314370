"""What it costs that forward passes run in threads, and that DataParallel makes replicas in every step.

First on one device, where a thread can do what each replica's does; then with DataParallel itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from time import perf_counter

import torch
from torch import nn

from common.examining.instruments import overridden
from common.examining.one_device import shape_of_convolution
from common.examining.rounds import MIN_WARM_UP, Rounds, orders_of_rounds, timed_step
from common.machine.devices import LocalDevices
from common.measuring.clocks import mark, seconds_between
from common.records import FORWARD_THREADS, REPLICATED_KINDS, ForwardThread, LayerTimes, ProfileRecord, ThreadsOfForward
from common.training.batch import Batch, map_tensors
from common.training.data_parallel import (
    DeviceThreads,
    EmulatedDataParallel,
    EmulatedKeptThreads,
    KeptThreadsDataParallel,
    Shard,
)
from common.training.training import Training

LAYER_ROUNDS = 3
SAMPLES_ON_CORES = 4


def forward_steps(rounds: int) -> int:
    """So many steps, or a few more, are taken of all kinds on a GPU; forward passes of CPU cores are less."""
    return len(FORWARD_THREADS) * (MIN_WARM_UP + rounds)


def measure_forward_threads(
    training: Training, devices: LocalDevices, batches: Sequence[Batch], rounds: Rounds, profile: ProfileRecord
) -> None:
    """Enter into `profile` the times of steps whose forward pass runs in the main thread, a new one, a kept one.

    Kinds are warmed up and taken in rounds (`Rounds`). On CPU cores forward passes of few samples are timed:
    the rest of a step runs in the main thread anyway, and a thread costs as much whatever it does. Then come a few
    passes more with hooks on every layer.
    """
    kept = DeviceThreads(1)
    threads: dict[str, Callable[[], DeviceThreads]] = {
        "new_thread": lambda: DeviceThreads(1),
        "kept_thread": lambda: kept,
    }
    whole = devices.kind == "cuda"
    samples = len(batches[0].indices) if whole else min(SAMPLES_ON_CORES, len(batches[0].indices))
    inputs = map_tensors(lambda tensor: tensor[:samples], batches[0].to(training.device)[0])

    def timed(kind: str) -> float:
        with _forward_in(training, threads.get(kind)):
            return timed_step(training, devices, batches) if whole else _timed_forward(training, devices, inputs)

    passes = rounds.take({kind: partial(timed, kind) for kind in FORWARD_THREADS})
    layers: dict[str, LayerTimes] = {}
    for order in orders_of_rounds(FORWARD_THREADS, LAYER_ROUNDS, training.config.seed):
        for kind in order:
            with _forward_in(training, threads.get(kind)), _watched(training.model, layers, kind):
                _timed_forward(training, devices, inputs)
    profile.threads_of_forward = ThreadsOfForward(
        timed="step" if whole else "forward", samples=samples, passes=passes, layers=list(layers.values())
    )


def _timed_forward(training: Training, devices: LocalDevices, inputs: object) -> float:
    """Seconds of one forward pass from idle to idle device."""
    devices.synchronize()
    before = mark(devices.device)
    training.model(inputs)
    after = mark(devices.device)
    devices.synchronize()
    return round(seconds_between(before, after), 7)


def _forward_in(training: Training, threads: Callable[[], DeviceThreads] | None) -> AbstractContextManager:
    """While open, the model goes forward in a thread of `threads()`; without it, in that of its caller."""
    if threads is None:
        return nullcontext()
    model, device = training.model, training.device
    forward = model.forward

    def in_thread(*inputs: object, **named: object) -> object:
        with_gradient = torch.is_grad_enabled()  # known to this thread alone

        def run(of_device: torch.device) -> object:
            here = torch.cuda.device(of_device) if of_device.type == "cuda" else nullcontext()
            with torch.set_grad_enabled(with_gradient), here:
                return forward(*inputs, **named)

        (outputs,) = threads().map(run, [device])
        return outputs

    return overridden(model, forward=in_thread)


@contextmanager
def _watched(model: nn.Module, layers: dict[str, LayerTimes], kind: ForwardThread) -> Iterator[None]:
    """While open, each layer's time in a forward pass is entered into `layers`, by its name; of a layer that is called
    more than once, all calls together. A layer is a module without others in it."""
    begun: dict[str, float] = {}
    taken: dict[str, float] = {}
    shapes: dict[tuple, str] = {}  # filled in the first pass, in which `layers` is

    def begins(name: str, layer: nn.Module, inputs: tuple) -> None:
        if name not in layers:
            shape = shape_of_convolution(layer, inputs)
            same_as = shapes.setdefault(shape, name) if shape else name
            layers[name] = LayerTimes(
                name=name, type=type(layer).__name__, same_as="" if same_as == name else same_as, seconds={}
            )
        begun[name] = perf_counter()

    def ends(name: str, layer: nn.Module, inputs: tuple, outputs: object) -> None:
        taken[name] = taken.get(name, 0.0) + perf_counter() - begun[name]

    with ExitStack() as hooks:
        for name, layer in model.named_modules():
            if not any(layer.children()):
                hooks.enter_context(layer.register_forward_pre_hook(partial(begins, name)))
                hooks.enter_context(layer.register_forward_hook(partial(ends, name)))
        yield
    for name, seconds in taken.items():
        layers[name].seconds.setdefault(kind, []).append(round(seconds, 7))


def replicated_kinds(model: nn.DataParallel) -> list[str]:
    """The kinds of steps that can be taken of this model: one that keeps its threads has none with new ones."""
    keeps = isinstance(model, KeptThreadsDataParallel | EmulatedKeptThreads)
    return [name for name in REPLICATED_KINDS if not (keeps and name.startswith("new_threads"))]


def replicated_steps(model: nn.DataParallel, rounds: int) -> int:
    """So many steps, or a few more, are taken of all kinds."""
    return len(replicated_kinds(model)) * (MIN_WARM_UP + rounds)


def measure_threads_and_replicas(
    training: Training, devices: LocalDevices, batches: Sequence[Batch], rounds: Rounds, profile: ProfileRecord
) -> None:
    """DP: whole steps with new and with kept threads, each with new and with kept replicas, and from one thread.

    Two things that each are new or kept make four kinds: how they act together can be told from what each costs. Kinds
    are warmed up and taken in rounds (`Rounds`); a kept thread belongs to one device. The seconds are left in
    `profile`.
    """
    model = training.model
    threads = DeviceThreads(len(model.device_ids))

    def of_kind(name: str) -> Callable[[], float]:
        def step() -> float:
            with ExitStack() as varied:
                if name.startswith("one_thread"):
                    varied.enter_context(_applied(model, map))
                elif name.startswith("kept_threads"):
                    varied.enter_context(_applied(model, threads.map))
                if name.endswith("kept_replicas"):
                    varied.enter_context(_kept_replicas(model))
                return timed_step(training, devices, batches)

        return step

    kinds = {name: of_kind(name) for name in replicated_kinds(model)}
    profile.replicated_steps = rounds.take(kinds)


def _applied(model: nn.DataParallel, apply: Callable) -> AbstractContextManager:
    """While open, the replicas of `model` go forward by `apply(function, replicas, inputs, kwargs)` instead of in new
    threads, as torch's `parallel_apply` does it."""

    def parallel_apply(replicas: Sequence[nn.Module], inputs: Sequence[tuple], kwargs: Sequence[dict]) -> list:
        with_gradient = torch.is_grad_enabled()  # known to this thread alone

        def forward(number: int) -> object:
            on_gpu = torch.cuda.is_initialized()
            here = torch.cuda.device(model.device_ids[number]) if on_gpu else nullcontext()
            with torch.set_grad_enabled(with_gradient), here:
                output = replicas[number](*inputs[number], **kwargs[number])
            return Shard(replicas[number], output) if isinstance(model, EmulatedDataParallel) else output

        return list(apply(forward, range(len(replicas))))

    return overridden(model, parallel_apply=parallel_apply)


def _kept_replicas(model: nn.DataParallel) -> AbstractContextManager:
    """While open, `model` runs replicas that were made before: outside of the step's time, with its present weights."""
    replicas = model.replicate(model.module, model.device_ids)
    return overridden(model, replicate=lambda module, device_ids: replicas[: len(device_ids)])
