"""Lets a clock hear of what goes on inside a wrapped model, without a change to torch or to the model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn
from torch.nn.parallel import comm
from torch.utils.hooks import RemovableHandle

from common.examining.phases import PhaseClock
from common.measuring.clocks import Mark, mark
from common.training.batch import Nested, tensors_of
from common.training.data_parallel import EmulatedDataParallel


@contextmanager
def instruments(
    model: nn.Module, clock: PhaseClock, last_gradients: Sequence[Tensor] = (), *, replicas: bool = True
) -> Iterator[None]:
    """While open, `clock` hears of what goes on inside a wrapped model; a bare one has nothing inside.

    Under DataParallel it hears of the stages, and of each of `replicas`, which takes hooks on every weight of each.
    Under DDP it hears of `last_gradients` alone, those of `last_to_be_ready`: a hook on every parameter takes the
    interpreter a hundred times during the backward pass, and makes it longer by a fifth on quick GPUs.
    """
    if isinstance(model, nn.DataParallel):
        with _inside_data_parallel(model, clock, replicas):
            yield
    else:
        with hooked(parameter.register_post_accumulate_grad_hook(clock.gradient_ready) for parameter in last_gradients):
            yield


@contextmanager
def readiness(model: nn.Module) -> Iterator[list[Tensor]]:
    """The parameters of `model`, in the order in which backward passes inside the `with` complete their gradients."""
    order: list[Tensor] = []
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    with hooked(parameter.register_post_accumulate_grad_hook(order.append) for parameter in trained):
        yield order


@contextmanager
def hooked(handles: Iterable[RemovableHandle]) -> Iterator[None]:
    """While open, these hooks stay."""
    with ExitStack() as hooks:
        for handle in handles:
            hooks.enter_context(handle)
        yield


@contextmanager
def overridden(module: nn.Module, **methods: Callable) -> Iterator[None]:
    """While open, `module` has these methods in place of its class's."""
    module.__dict__.update(methods)
    try:
        yield
    finally:
        for name in methods:
            del module.__dict__[name]


@contextmanager
def _inside_data_parallel(model: nn.DataParallel, clock: PhaseClock, replicas_too: bool) -> Iterator[None]:
    """The stages are methods of the model: for the time being, timed ones stand in front of them."""
    numbers: dict[int, int] = {}

    def replicate(module: nn.Module, device_ids: list) -> list[nn.Module]:
        replicas = original_replicate(module, device_ids)
        numbers.clear()
        numbers.update({id(replica): number for number, replica in enumerate(replicas)})
        return replicas

    def forward_begins(replica: nn.Module, inputs: tuple[Nested]) -> None:
        replica.__dict__["begun"] = mark(tensors_of(inputs)[0].device)

    def forward_ends(replica: nn.Module, inputs: tuple[Nested], output: Nested) -> None:
        number, device = numbers.get(id(replica), 0), tensors_of(inputs)[0].device
        clock.replica_worked(number, replica.__dict__.pop("begun"), mark(device))
        if not isinstance(model, EmulatedDataParallel):
            _watch_backward(replica, output, device, lambda *marks: clock.replica_worked(number, *marks))

    def replica_backward(shard, output_gradients: Sequence[Tensor]):
        device = output_gradients[0].device
        before = mark(device)
        gradients = type(model).replica_backward(model, shard, output_gradients)
        clock.replica_worked(numbers.get(id(shard.replica), 0), before, mark(device))
        return gradients

    original_replicate, reduce_add = model.replicate, comm.reduce_add_coalesced
    stages = {
        "scatter": clock.timed("scatter", model.scatter),
        "replicate": clock.timed("replicate", replicate),
        "gather": clock.timed("gather", model.gather),
    }
    if isinstance(model, EmulatedDataParallel):
        stages |= {"replica_backward": replica_backward, "reduce": clock.timed("reduce", model.reduce)}
    else:
        comm.reduce_add_coalesced = clock.timed("reduce", reduce_add)  # what torch calls to sum the gradients
    try:
        with overridden(model, **stages), ExitStack() as hooks:
            if replicas_too:
                hooks.enter_context(model.module.register_forward_pre_hook(forward_begins))
                hooks.enter_context(model.module.register_forward_hook(forward_ends))
            yield
    finally:
        comm.reduce_add_coalesced = reduce_add


def _watch_backward(
    replica: nn.Module, output: Nested, device: torch.device, worked: Callable[[Mark, Mark], None]
) -> None:
    """torch's DataParallel has no place where a replica's backward begins or ends: gradients tell."""
    weights = [w for module in replica.modules() for w in getattr(module, "_former_parameters", {}).values()]
    begun: list[Mark] = []
    torch.autograd.graph.register_multi_grad_hook(
        [tensor for tensor in tensors_of(output) if tensor.requires_grad],
        lambda _: begun.append(mark(device)),
        mode="any",
    )
    torch.autograd.graph.register_multi_grad_hook(
        [weight for weight in weights or replica.parameters() if weight.requires_grad],
        lambda _: worked(begun[0], mark(device)),
    )
