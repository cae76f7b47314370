"""DataParallel where torch's own does not do: with threads that are kept, and emulated on CPU cores.

torch's own starts a new thread for each replica in every forward pass. On GPUs cuDNN plans a convolution again the
first time that a thread meets it, so each step pays for all plans again: docs/why.md has what that costs.
"""

import copy
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from common.machine.devices import LocalDevices
from common.measuring.clocks import CoreWait, core_wait
from common.training.batch import Nested, chunks, filled, tensors_of

Threads = Literal["new", "kept"]


class DeviceThreads:
    """A thread for each device, which ends with this object."""

    def __init__(self, devices: int) -> None:
        self._threads = [
            ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,)) for _ in range(devices)
        ]

    def map(self, function: Callable, *arguments: Iterable[Any]) -> list[Any]:
        """`function` of the first of each argument in the first device's thread, and so on, all at once."""
        calls = zip(self._threads, *arguments, strict=False)  # a batch can be too small for all devices
        running = [thread.submit(function, *own) for thread, *own in calls]
        return [future.result() for future in running]


class KeptThreadsDataParallel(nn.DataParallel):
    """`nn.DataParallel`, but for its threads. Outputs and gradients are the same to the last bit."""

    def __init__(self, module: nn.Module, device_ids: Sequence[int]) -> None:
        super().__init__(module, device_ids=device_ids)
        self._threads = DeviceThreads(len(self.device_ids))

    def parallel_apply(self, replicas: Sequence[nn.Module], inputs: Sequence[tuple], kwargs: Sequence[dict]) -> list:
        """Run every replica on its part, each in its device's thread."""
        # All of these are known to the calling thread alone. torch's own forgets autocast's dtype.
        with_gradient, autocast = torch.is_grad_enabled(), torch.is_autocast_enabled("cuda")
        dtype, streams = torch.get_autocast_dtype("cuda"), [torch.cuda.current_stream(i) for i in self.device_ids]

        def forward(replica: nn.Module, args: tuple, kwarg: dict, stream: torch.cuda.Stream) -> Any:
            grad, cast = torch.set_grad_enabled(with_gradient), torch.autocast("cuda", dtype, enabled=autocast)
            with grad, cast, torch.cuda.stream(stream):  # whose device becomes the current one
                return replica(*args, **kwarg)

        return self._threads.map(forward, replicas, inputs, kwargs, streams)


class Shard(NamedTuple):
    """One replica and what came out of it."""

    replica: nn.Module
    output: Nested


class CoreThreads(DeviceThreads):
    """The same on CPU cores; the main thread, which only waits meanwhile, counts what they waited for a core."""

    def map(self, function: Callable, *arguments: Iterable[Any]) -> list[Any]:
        waited = []

        def counted(*own: Any) -> Any:
            before = core_wait()
            result = function(*own)
            waited.append((core_wait() or 0.0) - (before or 0.0))
            return result

        results = super().map(counted, *arguments)
        CoreWait.of_threads += max(waited)
        return results


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
        self.kept_threads = CoreThreads(len(self.device_ids))

    def scatter(self, inputs: tuple[Nested, ...], kwargs: dict, device_ids: list[int]) -> tuple[list, list]:
        """Stage 1: split the batch into one part per replica."""
        parts = chunks(inputs, len(device_ids))
        return parts, [kwargs] * len(parts)

    def replicate(self, module: nn.Module, device_ids: list[int]) -> list[nn.Module]:
        """Stage 2: copy the module, parameters and buffers, to every other replica. DataParallel does so each step."""
        return [module, *(copy.deepcopy(module) for _ in device_ids[1:])]

    def parallel_apply(self, replicas: list[nn.Module], inputs: list, kwargs: list) -> list[Shard]:
        """Stage 3: run every replica on its part, each in a thread."""
        with_gradient = torch.is_grad_enabled()  # known to this thread alone

        def forward(replica: nn.Module, args: tuple, kwarg: dict) -> Shard:
            with torch.set_grad_enabled(with_gradient):
                return Shard(replica, replica(*args, **kwarg))

        return self.forward_threads().map(forward, replicas, inputs, kwargs)

    def forward_threads(self) -> DeviceThreads:
        """Those of a forward pass, new each time, as torch's are; backward passes have the kept ones, as on GPUs."""
        return CoreThreads(len(self.device_ids))

    def gather(self, outputs: list[Shard], output_device: int) -> Nested:
        """Stage 4: concatenate what came out; of numbers, such as a loss, make a vector.

        The backward pass starts here, with the way back of all four stages.
        """
        gathered = [
            torch.cat([tensor.detach().reshape(tensor.shape or (1,)) for tensor in of_replicas])
            for of_replicas in zip(*(tensors_of(shard.output) for shard in outputs), strict=True)
        ]
        if torch.is_grad_enabled():
            gathered = _Gather.apply(self, outputs, gathered, *_trained(self.module))
        return filled(outputs[0].output, gathered)

    def replica_backward(self, shard: Shard, gradients: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The way back through stage 3: one replica's gradients from those of its outputs."""
        used = [(out, grad) for out, grad in zip(tensors_of(shard.output), gradients, strict=True) if out.requires_grad]
        outputs, own = [out for out, _ in used], [grad for _, grad in used]
        return torch.autograd.grad(outputs, _trained(shard.replica), own, allow_unused=True, materialize_grads=True)

    def reduce(self, gradients: list[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """The way back through stage 2: sum the replicas' gradients onto replica 0, where the optimizer steps."""
        reduced, *others = gradients
        for other in others:
            reduced = torch._foreach_add(reduced, other)
        return reduced


class EmulatedKeptThreads(EmulatedDataParallel):
    """The same, whose forward passes have the threads of the step before."""

    def forward_threads(self) -> DeviceThreads:
        """The kept ones."""
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
    parameters of replica 0 to the output, and the replicas' graphs stay apart.
    """

    @staticmethod
    def forward(ctx, owner: EmulatedDataParallel, shards: list[Shard], gathered: list[Tensor], *parameters: Tensor):
        ctx.owner, ctx.shards = owner, shards
        ctx.mark_non_differentiable(*(tensor for tensor in gathered if not tensor.is_floating_point()))
        return tuple(gathered)

    @staticmethod
    @once_differentiable
    def backward(ctx, *gradients: Tensor):
        owner, shards = ctx.owner, ctx.shards
        ctx.shards = None  # the replicas' memory is free before the next step copies new ones
        outputs = [tensors_of(shard.output) for shard in shards]
        parts = zip(*map(_cut, gradients, zip(*outputs, strict=True)), strict=True)
        of_replicas = owner.kept_threads.map(owner.replica_backward, shards, parts)
        return None, None, None, *owner.reduce(of_replicas)


def _cut(gradient: Tensor, outputs: Sequence[Tensor]) -> list[Tensor]:
    """The gradient of an output, for each replica in the shape of its own."""
    parts = gradient.split([len(output) if output.shape else 1 for output in outputs])
    return [part.view_as(output) for part, output in zip(parts, outputs, strict=True)]


def _trained(module: nn.Module) -> list[Tensor]:
    return [parameter for parameter in module.parameters() if parameter.requires_grad]
