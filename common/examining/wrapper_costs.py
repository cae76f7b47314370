"""What a wrapper's work costs a step: DDP's exchange and its other work, DataParallel's threads and replicas.

Whole steps that differ in one thing, of several kinds in rounds.
"""

import copy
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from functools import partial
from time import perf_counter
from types import SimpleNamespace
from typing import Any

from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.debugging_hooks import noop_hook
from torch.nn.parallel import DistributedDataParallel

from common.examining.instruments import overridden
from common.examining.timed_steps import Experiment, timed
from common.machine.devices import LocalDevices, barrier, gathered
from common.records import REPLICATED_KINDS
from common.training.data_parallel import (
    DeviceThreads,
    EmulatedDataParallel,
    EmulatedKeptThreads,
    KeptThreadsDataParallel,
)
from common.training.distributed import ddp_kwargs
from common.training.training import Training, create_optimizer

LEAD_STEPS = 2
"""One right after the other, of each kind that is warm, to see how far the host is then ahead."""


def as_one_of_many(model: nn.Module, under_no_sync: bool) -> AbstractContextManager:
    """What a step, or several, are taken in, as if each followed one of its own kind.

    DDP copies rank 0's buffers to all ranks in the forward pass (`--broadcast-buffers`) unless the step before it was
    under `no_sync`.
    """
    model.require_forward_param_sync = not under_no_sync
    return model.no_sync() if under_no_sync else nullcontext()


def measure_exchange_cost(experiment: Experiment) -> dict[str, Any]:
    """Whole steps as they are, without the all-reduce, under `no_sync`, and in one bucket: one of each kind a round.

    The order of a round is the same on all ranks, which start each step together; on GPUs with the host as far ahead as
    it is when steps of that kind follow one another. With their seconds come those of torch's own clock of the
    exchange. An exchange that was built by hand is only on or off.
    """
    training, devices, batches = experiment.training, experiment.devices, experiment.batches
    model, leads, communication = training.model, dict[str, float](), list[dict[str, Any]]()
    kinds = {"exchange_on": training, "exchange_off": training}
    if isinstance(model, DistributedDataParallel):
        # Buckets and copies without an all-reduce. The hook is Python's, and called for every bucket: that much more is
        # taken for the wrapper's own work, and less for the exchange.
        silent = _copied(training, devices)
        silent.model.register_comm_hook(None, noop_hook)
        kinds |= {"no_all_reduce": silent, "one_bucket": _copied(training, devices, one_bucket=True)}
        for kind in kinds.values():
            # Every step here ends with a synchronisation, as this clock would force.
            kind.model._set_ddp_runtime_logging_sample_rate(1)

    def step(name: str) -> float:
        with as_one_of_many(kinds[name].model, name == "exchange_off"):
            seconds = timed(devices, partial(kinds[name].step, batches), leads.get(name, 0.0))
        if name == "exchange_on" and isinstance(model, DistributedDataParallel):
            communication.append(model._get_ddp_logging_data())
        return seconds

    def measure_lead(name: str) -> None:
        """How far the host is ahead after a few steps: seconds until the devices are done, on the rank where it is
        least; 0 on CPU devices."""
        devices.synchronize()
        barrier()
        with as_one_of_many(kinds[name].model, name == "exchange_off"):
            for _ in range(LEAD_STEPS):
                kinds[name].step(batches)
        launched = perf_counter()
        devices.synchronize()
        lead = perf_counter() - launched if devices.kind == "cuda" else 0.0
        leads[name] = round(min(gathered(lead)), 7)

    taken = experiment.in_rounds({name: partial(step, name) for name in kinds}, warmed=measure_lead)
    nanoseconds = communication[-len(taken.orders) :][1:]  # torch publishes a step's times with the next one
    return {
        **{f"{name}_seconds": seconds for name, seconds in taken.seconds.items()},
        "lead_seconds": leads if devices.kind == "cuda" else {},
        "communication_seconds": [max(0, times.get("backward_comm_time", 0)) / 1e9 for times in nanoseconds],
        "overlap_seconds": [max(0, times.get("backward_compute_comm_overlap_time", 0)) / 1e9 for times in nanoseconds],
    }


def _copied(training: Training, devices: LocalDevices, **options: bool) -> Training:
    """A copy of the model under DDP, for a model takes one hook for good; with an optimizer of its own."""
    module, config = copy.deepcopy(training.module), training.config
    kwargs = ddp_kwargs(config.ddp.model_copy(update=options))
    model = DistributedDataParallel(module, device_ids=devices.device_ids, **kwargs)
    if config.compile:
        model.compile(mode=config.compile_mode)
    return replace(training, model=model, optimizer=create_optimizer(model, config))


def replicated_kinds(model: nn.DataParallel) -> list[str]:
    """The kinds of steps that can be taken of this model: one that keeps its threads has none with new ones."""
    keeps = isinstance(model, KeptThreadsDataParallel | EmulatedKeptThreads)
    return [name for name in REPLICATED_KINDS if not (keeps and name.startswith("new_threads"))]


def measure_threads_and_replicas(experiment: Experiment) -> dict[str, Any]:
    """DP: whole steps with new and with kept threads, each with new and with kept replicas, and from one thread.

    Two things that each are new or kept make four kinds: how they act together can be told from what each costs. Kinds
    are warmed up and taken in rounds; a kept thread belongs to one device.
    """
    training, model = experiment.training, experiment.training.model
    emulated = isinstance(model, EmulatedDataParallel)
    kept_threads = model.kept_threads if emulated else DeviceThreads(len(model.device_ids))
    # In place of them: the replicas go forward one after another, in the thread that runs the step.
    one_thread = SimpleNamespace(map=lambda function, *arguments: list(map(function, *arguments)))

    def step(name: str) -> float:
        with ExitStack() as varied:
            if not name.startswith("new_threads"):
                varied.enter_context(_replicas_in(model, one_thread if name.startswith("one") else kept_threads))
            if name.endswith("kept_replicas"):  # made outside of the step's time, with the weights of the moment
                replicas = model.replicate(model.module, model.device_ids)
                kept = overridden(model, replicate=lambda module, device_ids: replicas[: len(device_ids)])
                varied.enter_context(kept)
            return timed(experiment.devices, partial(training.step, experiment.batches))

    kinds = {name: partial(step, name) for name in replicated_kinds(model)}
    return {"replicated_steps": experiment.in_rounds(kinds)}


def _replicas_in(model: nn.DataParallel, threads: DeviceThreads | SimpleNamespace) -> AbstractContextManager:
    """While open, the replicas of `model` go forward in these threads instead of new ones."""
    if isinstance(model, EmulatedDataParallel):
        return overridden(model, forward_threads=lambda: threads)
    kept_apply = partial(KeptThreadsDataParallel.parallel_apply, model)
    return overridden(model, parallel_apply=kept_apply, _threads=threads)
