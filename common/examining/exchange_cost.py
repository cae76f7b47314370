"""DDP: extra steps that tell the exchange itself from the wrapper's own work."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from random import Random

from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.debugging_hooks import noop_hook
from torch.nn.parallel import DistributedDataParallel

from common.examining.timed_steps import timed_step
from common.machine.devices import LocalDevices
from common.records import RankProfile
from common.training.batch import Batch
from common.training.distributed import ddp_kwargs
from common.training.optimizer import create_optimizer
from common.training.training import Training

SETTLING_STEPS = 2
"""Of each kind, before the first round: DDP lays its buckets anew after its first step."""


def exchange_kinds(model: nn.Module) -> int:
    """So many kinds of steps show what an exchange costs; one that was built by hand has two of them."""
    return 4 if isinstance(model, DistributedDataParallel) else 2


def measure_exchange_cost(
    training: Training,
    devices: LocalDevices,
    batches: Sequence[Batch],
    rounds: int,
    found: RankProfile,
    progress: Callable,
) -> None:
    """Whole steps as they are, without the all-reduce, under `no_sync`, and in one bucket: one of each kind a round.

    The order is drawn anew in each round, the same on all ranks, which start each step together. The seconds are left
    in `found`, and those of torch's own clock of the exchange. An exchange that was built by hand is only on or off.
    """
    model = training.model
    is_torchs = isinstance(model, DistributedDataParallel)
    kinds: dict[str, Callable[[], float]] = {
        "exchange_on": lambda: timed_step(_with_buffers(training, True), devices, batches),
        "exchange_off": lambda: timed_step(_with_buffers(training, False), devices, batches, model.no_sync()),
    }
    if is_torchs:
        silent, in_one_bucket = without_all_reduce(training, devices), with_one_bucket(training, devices)
        kinds["no_all_reduce"] = partial(timed_step, silent, devices, batches)
        kinds["one_bucket"] = partial(timed_step, in_one_bucket, devices, batches)
        for one in (model, silent.model):
            # Every step here ends with a synchronisation, as this clock would force.
            one._set_ddp_runtime_logging_sample_rate(1)
    for kind in kinds.values():
        for _ in range(SETTLING_STEPS):
            kind()
    order, random = list(kinds), Random(training.config.seed)
    for round_ in range(rounds):
        random.shuffle(order)
        for name in order:
            getattr(found, f"{name}_seconds").append(kinds[name]())
            if is_torchs and round_ and name == "exchange_on":  # torch publishes its times with the next such step
                communication, overlap = _communication(model)
                found.communication_seconds.append(communication)
                found.overlap_seconds.append(overlap)
            progress()


def _with_buffers(training: Training, exchanges: bool) -> Training:
    """DDP copies rank 0's buffers to all ranks in the forward pass (`--broadcast-buffers`) unless the step before it
    was under `no_sync`: here every step is as if it followed one of its own kind."""
    training.model.require_forward_param_sync = exchanges
    return training


def without_all_reduce(training: Training, devices: LocalDevices) -> Training:
    """The same training of a copy of the model whose comm hook does nothing: buckets and copies without an all-reduce.

    A copy, for a model takes one hook for good. The hook is Python's, and called for every bucket: that much more is
    taken for the wrapper's own work, and less for the exchange.
    """
    silent = _copied(training, devices)
    silent.model.register_comm_hook(None, noop_hook)
    return silent


def with_one_bucket(training: Training, devices: LocalDevices) -> Training:
    """The same training of a copy of the model, which exchanges all gradients at once, when the last one is ready."""
    return _copied(training, devices, one_bucket=True)


def _copied(training: Training, devices: LocalDevices, **options: bool) -> Training:
    """A copy of the model under DDP, with an optimizer of its own."""
    module, config = copy.deepcopy(training.module), training.config
    model = DistributedDataParallel(module, **ddp_kwargs(module, config.ddp.model_copy(update=options), devices))
    if config.compile:
        model.compile(mode=config.compile_mode)
    return replace(training, model=model, optimizer=create_optimizer(model, config))


def _communication(ddp: DistributedDataParallel) -> tuple[float, float]:
    """Seconds of all-reduce, and of it beside the backward pass, in the last step that torch has published."""
    logged = ddp._get_ddp_logging_data()
    nanoseconds = (logged.get("backward_comm_time", 0), logged.get("backward_compute_comm_overlap_time", 0))
    return tuple(max(0, value) / 1e9 for value in nanoseconds)
