"""DataParallel: extra steps that say what its threads and its replicas cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import nn

from common.examining.rounds import MIN_WARM_UP, Rounds, timed_step
from common.machine.devices import LocalDevices
from common.records import REPLICATED_KINDS, ProfileRecord
from common.training.batch import Batch
from common.training.data_parallel import (
    DeviceThreads,
    EmulatedDataParallel,
    EmulatedKeptThreads,
    KeptThreadsDataParallel,
    Shard,
)
from common.training.training import Training


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


@contextmanager
def _applied(model: nn.DataParallel, apply: Callable) -> Iterator[None]:
    """While open, the replicas of `model` go forward by `apply(function, replicas, inputs, kwargs)` instead of in new
    threads, as torch's `parallel_apply` does it."""

    def parallel_apply(replicas: Sequence[nn.Module], inputs: Sequence[tuple], kwargs: Sequence[dict]) -> list:
        with_gradient = torch.is_grad_enabled()  # known to this thread alone

        def forward(number: int) -> object:
            with ExitStack() as of_thread:
                of_thread.enter_context(torch.set_grad_enabled(with_gradient))
                if torch.cuda.is_initialized():
                    of_thread.enter_context(torch.cuda.device(model.device_ids[number]))
                output = replicas[number](*inputs[number], **kwargs[number])
            return Shard(replicas[number], output) if isinstance(model, EmulatedDataParallel) else output

        return list(apply(forward, range(len(replicas))))

    model.parallel_apply = parallel_apply
    try:
        yield
    finally:
        del model.parallel_apply


@contextmanager
def _kept_replicas(model: nn.DataParallel) -> Iterator[None]:
    """While open, `model` runs replicas that were made before: outside of the step's time, with its present weights."""
    replicas = model.replicate(model.module, model.device_ids)
    model.replicate = lambda module, device_ids: replicas[: len(device_ids)]
    try:
        yield
    finally:
        del model.replicate
