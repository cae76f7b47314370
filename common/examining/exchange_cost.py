"""DDP: extra steps that tell the exchange itself from the wrapper's own work."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial

from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.debugging_hooks import noop_hook
from torch.nn.parallel import DistributedDataParallel

from common.examining.rounds import MIN_WARM_UP, Rounds, settled_lead, timed_step
from common.machine.devices import LocalDevices
from common.records import RankProfile
from common.training.batch import Batch
from common.training.distributed import ddp_kwargs
from common.training.training import Training, create_optimizer

LEAD_STEPS = 2
"""One right after the other, of each kind that is warm, to see how far the host is then ahead."""


@dataclass(frozen=True)
class Kind:
    """One kind of steps."""

    training: Training
    under_no_sync: bool = False

    def prepared(self) -> AbstractContextManager:
        """What a step of this kind, or several, are taken in.

        DDP copies rank 0's buffers to all ranks in the forward pass (`--broadcast-buffers`) unless the step before it
        was under `no_sync`: here every step is as if it followed one of its own kind.
        """
        model = self.training.model
        model.require_forward_param_sync = not self.under_no_sync
        return model.no_sync() if self.under_no_sync else nullcontext()


def exchange_steps(model: nn.Module, rounds: int) -> int:
    """So many steps, or a few more, are taken of all kinds; an exchange built by hand has two of the four."""
    kinds = 4 if isinstance(model, DistributedDataParallel) else 2
    return kinds * (MIN_WARM_UP + LEAD_STEPS + rounds)


def measure_exchange_cost(
    training: Training, devices: LocalDevices, batches: Sequence[Batch], rounds: Rounds, mine: RankProfile
) -> None:
    """Whole steps as they are, without the all-reduce, under `no_sync`, and in one bucket: one of each kind a round.

    The order of a round is the same on all ranks, which start each step together; on GPUs with the host as far ahead as
    it is when steps of that kind follow one another. The seconds are left in `mine`, and those of torch's own clock of
    the exchange. An exchange that was built by hand is only on or off.
    """
    model, leads, communication = training.model, dict[str, float](), list[tuple[float, float]]()
    kinds = {"exchange_on": Kind(training), "exchange_off": Kind(training, under_no_sync=True)}
    if isinstance(model, DistributedDataParallel):
        kinds["no_all_reduce"] = Kind(without_all_reduce(training, devices))
        kinds["one_bucket"] = Kind(_copied(training, devices, one_bucket=True))
        for kind in kinds.values():
            # Every step here ends with a synchronisation, as this clock would force.
            kind.training.model._set_ddp_runtime_logging_sample_rate(1)

    def step(name: str) -> float:
        kind = kinds[name]
        seconds = timed_step(kind.training, devices, batches, kind.prepared(), lead_seconds=leads.get(name, 0.0))
        if name == "exchange_on" and isinstance(model, DistributedDataParallel):
            communication.append(_communication(model))
        return seconds

    def measure_lead(name: str) -> None:
        kind = kinds[name]
        leads[name] = settled_lead(kind.training, devices, batches, LEAD_STEPS, kind.prepared())

    taken = rounds.take({name: partial(step, name) for name in kinds}, warmed=measure_lead)
    for name, seconds in taken.seconds.items():
        setattr(mine, f"{name}_seconds", seconds)
    if devices.kind == "cuda":
        mine.lead_seconds = leads
    of_rounds = communication[-len(taken.orders) :][1:]  # torch publishes a step's times with the next one
    mine.communication_seconds = [seconds for seconds, _ in of_rounds]
    mine.overlap_seconds = [seconds for _, seconds in of_rounds]


def without_all_reduce(training: Training, devices: LocalDevices) -> Training:
    """The same training of a copy of the model whose comm hook does nothing: buckets and copies without an all-reduce.

    A copy, for a model takes one hook for good. The hook is Python's, and called for every bucket: that much more is
    taken for the wrapper's own work, and less for the exchange.
    """
    silent = _copied(training, devices)
    silent.model.register_comm_hook(None, noop_hook)
    return silent


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
