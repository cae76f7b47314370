"""DataParallel where torch's own does not do: the same algorithm, emulated on CPU cores."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from common.machine.devices import LocalDevices
from common.training.kept_threads import DeviceThreads, KeptThreadsDataParallel

Threads = Literal["new", "kept"]


class Shard(NamedTuple):
    """One replica and what came out of it."""

    replica: nn.Module
    output: Tensor


class EmulatedDataParallel(nn.DataParallel):
    """`nn.DataParallel` where one CPU core, one thread, stands in for a GPU.

    torch's class does nothing without GPUs. This one keeps its `forward`, which runs four stages, scatter, replicate,
    parallel_apply and gather, and fills in each of them for cores. Replica 0 is the module itself, as on GPU 0.
    """

    def __init__(self, module: nn.Module, device_ids: Sequence[int]) -> None:
        nn.Module.__init__(self)  # not DataParallel's, which would look for GPUs
        self.module = module
        self.device_ids = list(device_ids)
        self.output_device = 0
        self.src_device_obj = torch.device("cpu")
        self.dim = 0
        self.kept_threads = DeviceThreads(len(self.device_ids))

    def scatter(self, inputs: tuple[Tensor, ...], kwargs: dict, device_ids: list[int]) -> tuple[list, list]:
        """Stage 1: split the batch into one part per replica."""
        parts = list(zip(*(tensor.chunk(len(device_ids), self.dim) for tensor in inputs), strict=True))
        return parts, [kwargs] * len(parts)

    def replicate(self, module: nn.Module, device_ids: list[int]) -> list[nn.Module]:
        """Stage 2: copy the module, parameters and buffers, to every other replica. DataParallel does so each step."""
        return [module, *(copy.deepcopy(module) for _ in device_ids[1:])]

    def parallel_apply(self, replicas: list[nn.Module], inputs: list, kwargs: list) -> list[Shard]:
        """Stage 3: run every replica on its part, each in a thread, which torch starts anew each time."""
        with_gradient = torch.is_grad_enabled()  # known to this thread alone

        def forward(replica: nn.Module, args: tuple, kwarg: dict) -> Shard:
            with torch.set_grad_enabled(with_gradient):
                return Shard(replica, replica(*args, **kwarg))

        return self.forward_threads().map(forward, replicas, inputs, kwargs)

    def forward_threads(self) -> DeviceThreads:
        """New ones for every forward pass."""
        return DeviceThreads(len(self.device_ids))

    def gather(self, outputs: list[Shard], output_device: int) -> Tensor:
        """Stage 4: concatenate what came out. The backward pass starts here, with the way back of all four stages."""
        if not torch.is_grad_enabled():
            return torch.cat([shard.output for shard in outputs], self.dim)
        return _Gather.apply(self, outputs, *_trained(self.module))

    def replica_backward(self, shard: Shard, gradient: Tensor) -> tuple[Tensor, ...]:
        """The way back through stage 3: one replica's gradients from the gradient of its output."""
        return torch.autograd.grad(
            shard.output, _trained(shard.replica), gradient, allow_unused=True, materialize_grads=True
        )

    def reduce(self, gradients: list[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """The way back through stage 2: sum the replicas' gradients onto replica 0, where the optimizer steps."""
        reduced, *others = gradients
        for other in others:
            reduced = torch._foreach_add(reduced, other)
        return reduced


class EmulatedKeptThreads(EmulatedDataParallel):
    """The same with the threads of the step before."""

    def forward_threads(self) -> DeviceThreads:
        return self.kept_threads


def own_data_parallel(model: nn.Module, devices: LocalDevices, threads: Threads) -> nn.DataParallel:
    """DataParallel where torch's class does not do: on CPU cores, and with threads that are kept."""
    if devices.kind == "cuda":
        return KeptThreadsDataParallel(model, devices.indices)
    return (EmulatedKeptThreads if threads == "kept" else EmulatedDataParallel)(model, devices.indices)


class _Gather(torch.autograd.Function):
    """Concatenation whose backward runs one backward pass per replica, each in its thread.

    On CPU, autograd works through a graph on the thread that called backward: had the replicas been left in the main
    graph, their backward passes would run one after another. So the main graph holds this one node, from the
    parameters of replica 0 to the output, and the replicas' graphs stay apart. The threads of the backward passes are
    kept from step to step, as autograd's are on GPUs.
    """

    @staticmethod
    def forward(ctx, owner: EmulatedDataParallel, shards: list[Shard], *parameters: Tensor) -> Tensor:
        ctx.owner, ctx.shards = owner, shards
        return torch.cat([shard.output.detach() for shard in shards], owner.dim)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor):
        owner, shards = ctx.owner, ctx.shards
        ctx.shards = None  # the replicas' memory is free before the next step copies new ones
        parts = gradient.split([shard.output.shape[owner.dim] for shard in shards], owner.dim)
        gradients = list(owner.kept_threads.map(owner.replica_backward, shards, parts))
        return None, None, *owner.reduce(gradients)


def _trained(module: nn.Module) -> list[Tensor]:
    return [parameter for parameter in module.parameters() if parameter.requires_grad]
