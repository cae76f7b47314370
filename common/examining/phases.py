"""Where a step goes: extra steps after the measured epochs, taken apart phase by phase."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel, comm

from common.machine.devices import Place
from common.measuring.clocks import Mark, mark, seconds_between
from common.records import DdpOptions, RankAnatomy
from common.training.batch import Batch
from common.training.data_parallel import EmulatedDataParallel

# Phases that happen inside another one, whose own time is what they leave of it.
INSIDE = {
    "scatter": "forward",
    "replicate": "forward",
    "gather": "forward",
    "reduce": "backward",
    "exchange": "backward",
}


class PhaseClock:
    """Marks where each phase of a step begins and ends, on the device that holds the model.

    Marks are read when all steps are over, so that on a GPU no phase waits for one before it to finish. Every phase is
    a named range in a trace, too.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._steps: list[list[tuple[str, Mark, Mark]]] = []
        self._replicas: list[list[tuple[int, Mark, Mark]]] = []
        self._last_gradient: Mark | None = None

    @contextmanager
    def step(self) -> Iterator[None]:
        """One whole step."""
        self._steps.append([])
        self._replicas.append([])
        with self.phase("step"):
            yield

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """A phase of the step that is under way."""
        with torch.profiler.record_function(name):
            before = mark(self._place.first)
            yield
            after = mark(self._place.first)
        self._steps[-1].append((name, before, after))
        if name == "backward" and self._last_gradient is not None:
            self._steps[-1].append(("exchange", self._last_gradient, after))

    def timed(self, name: str, function: Callable) -> Callable:
        """`function`, as a phase."""

        def call(*args, **kwargs):
            with self.phase(name):
                return function(*args, **kwargs)

        return call

    def gradient_ready(self, _: Tensor) -> None:
        """A gradient of this process is complete; the last of a step ends its own backward pass."""
        self._last_gradient = mark(self._place.first)

    def replica_worked(self, number: int, before: Mark, after: Mark) -> None:
        """Replica `number` has gone forward or backward from one mark (of its own device) to the other."""
        self._replicas[-1].append((number, before, after))

    def read(self, rank: int) -> RankAnatomy:
        """All steps but the first, which settles what the instruments have unsettled."""
        self._place.synchronize()
        phases: dict[str, list[float]] = {}
        for step in self._steps[1:]:
            own: dict[str, float] = {}
            for name, before, after in step:
                seconds = seconds_between(before, after)
                own[name] = own.get(name, 0.0) + seconds
                if name in INSIDE:
                    own[INSIDE[name]] = own.get(INSIDE[name], 0.0) - seconds
            for name, seconds in own.items():
                phases.setdefault(name, []).append(round(max(seconds, 0.0), 7))
        replicas = sorted({number for step in self._replicas for number, _, _ in step})
        return RankAnatomy(
            rank=rank,
            step_seconds=phases.pop("step"),
            phases=phases,
            replica_seconds=[
                [round(sum(seconds_between(b, a) for n, b, a in step if n == number), 7) for step in self._replicas[1:]]
                for number in replicas
            ],
        )


@contextmanager
def instruments(model: nn.Module, clock: PhaseClock) -> Iterator[None]:
    """While open, `clock` hears of what goes on inside a wrapped model; a bare one has nothing inside."""
    if isinstance(model, nn.DataParallel):
        with _inside_data_parallel(model, clock):
            yield
    elif isinstance(model, DistributedDataParallel):
        handles = [p.register_post_accumulate_grad_hook(clock.gradient_ready) for p in model.parameters()]
        yield
        for handle in handles:
            handle.remove()
    else:
        yield


@contextmanager
def _inside_data_parallel(model: nn.DataParallel, clock: PhaseClock) -> Iterator[None]:
    """The stages are methods of the model: for the time being, timed ones stand in front of them."""
    numbers: dict[int, int] = {}

    def replicate(module: nn.Module, device_ids: list) -> list[nn.Module]:
        replicas = original_replicate(module, device_ids)
        numbers.clear()
        numbers.update({id(replica): number for number, replica in enumerate(replicas)})
        return replicas

    def forward_begins(replica: nn.Module, inputs: tuple[Tensor]) -> None:
        replica.__dict__["begun"] = mark(inputs[0].device)

    def forward_ends(replica: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        number = numbers.get(id(replica), 0)
        clock.replica_worked(number, replica.__dict__.pop("begun"), mark(output.device))
        if not isinstance(model, EmulatedDataParallel):
            _watch_backward(replica, output, lambda *marks: clock.replica_worked(number, *marks))

    def replica_backward(shard, gradient: Tensor):
        before = mark(gradient.device)
        gradients = type(model).replica_backward(model, shard, gradient)
        clock.replica_worked(numbers.get(id(shard.replica), 0), before, mark(gradient.device))
        return gradients

    original_replicate, reduce_add = model.replicate, comm.reduce_add_coalesced
    hooks = [
        model.module.register_forward_pre_hook(forward_begins),
        model.module.register_forward_hook(forward_ends),
    ]
    model.scatter = clock.timed("scatter", model.scatter)
    model.replicate = clock.timed("replicate", replicate)
    model.gather = clock.timed("gather", model.gather)
    if isinstance(model, EmulatedDataParallel):
        model.replica_backward, model.reduce = replica_backward, clock.timed("reduce", model.reduce)
    else:
        comm.reduce_add_coalesced = clock.timed("reduce", reduce_add)  # what torch calls to sum the gradients
    try:
        yield
    finally:
        for name in ("scatter", "replicate", "gather", "replica_backward", "reduce"):
            model.__dict__.pop(name, None)
        comm.reduce_add_coalesced = reduce_add
        for hook in hooks:
            hook.remove()


def _watch_backward(replica: nn.Module, output: Tensor, worked: Callable[[Mark, Mark], None]) -> None:
    """torch's DataParallel has no place where a replica's backward begins or ends: gradients tell."""
    weights = [w for module in replica.modules() for w in getattr(module, "_former_parameters", {}).values()]
    begun: list[Mark] = []
    output.register_hook(lambda _: begun.append(mark(output.device)))
    torch.autograd.graph.register_multi_grad_hook(
        [weight for weight in weights or replica.parameters() if weight.requires_grad],
        lambda _: worked(begun[0], mark(output.device)),
    )


def bytes_moved(
    model: nn.Module, batches: tuple[Batch, ...], logits_bytes: int, ddp: DdpOptions | None
) -> dict[str, int]:
    """Bytes that a step moves between devices, by phase (`metrics.Anatomy.bytes_moved`)."""
    module = getattr(model, "module", model)
    gradients = sum(p.nbytes for p in module.parameters() if p.requires_grad)
    if isinstance(model, DistributedDataParallel):
        if ddp.comm_hook == "powersgd":  # how much it sends it alone knows
            return {}
        return {"exchange": gradients // (1 if ddp.comm_hook == "none" else 2)}
    if not isinstance(model, nn.DataParallel):
        return {}
    others = sum(device != model.device_ids[0] for device in model.device_ids)  # on one GPU, nothing leaves it
    shares = others / len(model.device_ids)
    held = sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers()))
    emulated = isinstance(model, EmulatedDataParallel)  # cores share one memory: scattering hands out views
    return {
        "scatter": 0 if emulated else round(sum(batch.images.nbytes for batch in batches) * shares),
        "replicate": held * others * len(batches),  # DataParallel knows nothing of accumulation
        "gather": round(logits_bytes * shares),
        "reduce": gradients * others * len(batches),
    }
