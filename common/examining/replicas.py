"""DataParallel: extra steps that say what its threads and its replicas cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import nn

from common.examining.timed_steps import timed_step
from common.machine.devices import LocalDevices
from common.records import RankProfile
from common.training.batch import Batch
from common.training.data_parallel import EmulatedDataParallel, EmulatedKeptThreads, Shard
from common.training.kept_threads import DeviceThreads, KeptThreadsDataParallel
from common.training.training import Training


def measure_threads_and_replicas(
    training: Training,
    devices: LocalDevices,
    batches: Sequence[Batch],
    rounds: int,
    found: RankProfile,
    progress: Callable,
) -> None:
    """DP: whole steps as they are, in kept threads, from one thread, and with kept replicas, in turn.

    The first kind less each other one says what the other does without: threads that are new in every step, threads at
    all, replicas that are made anew. A model that keeps its threads has only three kinds. The seconds are left in
    `found`.
    """
    model = training.model
    threads = DeviceThreads(len(model.device_ids))
    kinds: dict[str, Callable[[], AbstractContextManager]] = {
        "new_threads": nullcontext,
        "kept_threads": lambda: _applied(model, threads.map),
        "one_thread": lambda: _applied(model, map),
        "kept_replicas": lambda: kept_replicas(model),
    }
    if isinstance(model, KeptThreadsDataParallel | EmulatedKeptThreads):
        del kinds["new_threads"]
        kinds["kept_threads"] = nullcontext
    for kind in kinds.values():  # what the first step of its kind must settle
        timed_step(training, devices, batches, kind())
    for _ in range(rounds):
        for name, kind in kinds.items():
            getattr(found, f"{name}_seconds").append(timed_step(training, devices, batches, kind()))
            progress()


@contextmanager
def _applied(model: nn.DataParallel, apply: Callable) -> Iterator[None]:
    """While open, the replicas of `model` go forward by `apply(function, replicas, inputs, kwargs)` instead of in new
    threads, as torch's `parallel_apply` does it."""

    def parallel_apply(replicas: Sequence[nn.Module], inputs: Sequence[tuple], kwargs: Sequence[dict]) -> list:
        with_gradient = torch.is_grad_enabled()  # known to this thread alone

        def forward(number: int) -> object:
            device = torch.cuda.device(model.device_ids[number]) if torch.cuda.is_initialized() else nullcontext()
            with torch.set_grad_enabled(with_gradient), device:
                output = replicas[number](*inputs[number], **kwargs[number])
            return Shard(replicas[number], output) if isinstance(model, EmulatedDataParallel) else output

        return list(apply(forward, range(len(replicas))))

    model.parallel_apply = parallel_apply
    try:
        yield
    finally:
        del model.parallel_apply


@contextmanager
def kept_replicas(model: nn.DataParallel) -> Iterator[None]:
    """While open, `model` runs replicas that were made once."""
    replicas = model.replicate(model.module, model.device_ids)
    model.replicate = lambda module, device_ids: replicas[: len(device_ids)]
    try:
        yield
    finally:
        del model.replicate
