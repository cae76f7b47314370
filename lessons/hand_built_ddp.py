"""Step 04 with a DistributedDataParallel that is built by hand, in three ways (`04_ddp_training.py --exchange NAME`).

These are the solutions of build_your_own_ddp.py, in the order of Li et al. 2020 (arXiv 2006.15704). All gradients one
after another when the backward pass is done: `PerParameter`. The same in one message: `Flat`. In a few messages, each
as soon as its gradients are complete: `Overlapped`, the idea of torch's own class.
All of them average the gradients over the ranks before `backward()` returns, as torch's does, so that gradient scaling,
accumulation, parity and checkpoints work as they are.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd import Variable
from torch.utils.data import DistributedSampler

from common.machine.devices import rank_device
from common.running.recording import recording
from common.training.batch import Nested, tensors_of
from common.training.data import create_dataset
from common.training.distributed import rendezvous
from common.training.loader import create_loader
from common.training.models import create_model, create_workload
from common.training.training import Training, create_optimizer

BUCKET_BYTES = 25 * 2**20
"""As in torch, whose first bucket is smaller."""


class HandBuiltDDP(nn.Module):
    """What the three have in common: equal weights at the start, and an exchange with every backward pass."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.exchanging = True
        self.trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
        for tensor in (*module.parameters(), *module.buffers()):
            dist.broadcast(tensor.detach(), src=0)

    def forward(self, inputs: Nested) -> Nested:
        """Inputs -> outputs, as the module gives them; the backward pass will exchange gradients."""
        outputs = self.module(inputs)
        trained = [output for output in tensors_of(outputs) if output.requires_grad]
        if self.exchanging and trained:
            # This hook is called as a backward pass begins, and what is queued there when the pass ends.
            torch.autograd.graph.register_multi_grad_hook(
                trained, lambda _: Variable._execution_engine.queue_callback(self.after_backward), mode="any"
            )
        return outputs

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        """Inside, gradients add up on each rank and are not exchanged; the forward pass belongs inside, too."""
        self.exchanging = False
        try:
            yield
        finally:
            self.exchanging = True

    def after_backward(self) -> None:
        """Every gradient of this rank is complete."""
        raise NotImplementedError


class PerParameter(HandBuiltDDP):
    """An all-reduce for each parameter after the backward pass: as many latencies as there are parameters."""

    def after_backward(self) -> None:
        for gradient in gradients_of(self.trained):
            dist.all_reduce(gradient)  # a sum: gloo knows no mean
            gradient /= dist.get_world_size()


class Flat(HandBuiltDDP):
    """All gradients in one row, in one all-reduce after the backward pass: one latency, and two copies."""

    def after_backward(self) -> None:
        gradients = gradients_of(self.trained)
        row = flatten(gradients)
        dist.all_reduce(row)
        unflatten_mean(gradients, row)


class Overlapped(HandBuiltDDP):
    """Rows of up to 25 MiB (buckets), each exchanged as soon as its gradients are complete, while the pass goes on.

    Gradients are completed from the last layer to the first, roughly, and the buckets are filled in that order. All
    ranks must start their all-reduces in one order: a bucket waits for those before it.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__(module)
        self.buckets = in_buckets(self.trained[::-1], BUCKET_BYTES)
        self.missing = [len(bucket) for bucket in self.buckets]
        self.started: list[tuple[list[Tensor], Tensor, dist.Work]] = []
        for number, bucket in enumerate(self.buckets):
            for parameter in bucket:
                parameter.register_post_accumulate_grad_hook(partial(self.gradient_ready, number))

    def gradient_ready(self, number: int, parameter: nn.Parameter) -> None:
        """A gradient of bucket `number` is complete: start the exchange of whatever that makes ready."""
        if self.exchanging:
            self.missing[number] -= 1
            while len(self.started) < len(self.buckets) and not self.missing[len(self.started)]:
                self.start_next()

    def start_next(self) -> None:
        """Exchange the first bucket that is not yet on its way."""
        gradients = gradients_of(self.buckets[len(self.started)])
        row = flatten(gradients)
        self.started.append((gradients, row, dist.all_reduce(row, async_op=True)))

    def after_backward(self) -> None:
        while len(self.started) < len(self.buckets):  # a parameter that this step did not use is still missing
            self.start_next()
        for gradients, row, exchange in self.started:
            exchange.wait()
            unflatten_mean(gradients, row)
        self.started.clear()
        self.missing = [len(bucket) for bucket in self.buckets]


def in_buckets(parameters: Sequence[nn.Parameter], limit_bytes: int) -> list[list[nn.Parameter]]:
    """The parameters in their order, cut where a bucket would exceed the limit."""
    buckets: list[list[nn.Parameter]] = []
    held = 0
    for parameter in parameters:
        if not buckets or held + parameter.nbytes > limit_bytes:
            buckets.append([])
            held = 0
        buckets[-1].append(parameter)
        held += parameter.nbytes
    return buckets


def gradients_of(parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    """Those that there are: a step that does not use a parameter leaves it without one, on every rank alike."""
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


def flatten(gradients: Sequence[Tensor]) -> Tensor:
    """A copy of them all, as one vector."""
    return torch.cat([gradient.flatten() for gradient in gradients])


def unflatten_mean(gradients: Sequence[Tensor], row: Tensor) -> None:
    """Copy the mean over the ranks, whose sum is in `row`, back to the gradients."""
    row /= dist.get_world_size()
    for gradient, part in zip(gradients, row.split([gradient.numel() for gradient in gradients]), strict=True):
        gradient.copy_(part.view(gradient.shape))


def hand_built(name: str) -> type[HandBuiltDDP]:
    """The class that `--exchange` means; `mine` is the one of build_your_own_ddp.py."""
    if name == "mine":
        from lessons.build_your_own_ddp import MyDDP

        return MyDDP
    return {"per-parameter": PerParameter, "flat": Flat, "overlapped": Overlapped}[name]


def train(options) -> None:
    """Step 04's `train`, but for the wrapper."""
    train_step = import_module("04_ddp_training").train_step
    local_rank = int(os.environ["LOCAL_RANK"])  # torchrun tells each process which one of this machine it is
    devices = rank_device(options.device, local_rank)
    if devices.kind == "cuda":
        torch.cuda.set_device(devices.device)
    # The ranks wait for each other and settle on a backend: nccl, but gloo on CPU cores and where ranks share a GPU.
    group_kwargs = rendezvous(devices, options.ddp.timeout_seconds)  # torchrun's store, rank, world size, time limit
    dist.init_process_group(devices.world.backend, **group_kwargs)
    with recording(options, devices) as run:  # ends with a record, also when the run fails: then it says why
        config = run.config  # the options, with what the model and the machine decide filled in
        workload = create_workload(config)  # the model, its samples, its loss
        model = create_model(workload, config, devices)  # on its device; autocast is inside its forward
        model = hand_built(options.ddp.exchange)(model)

        dataset = create_dataset(workload, config)
        sampler = DistributedSampler(
            dataset, num_replicas=dist.get_world_size(), rank=dist.get_rank(), seed=config.seed, drop_last=True
        )
        loader = create_loader(dataset, sampler, config, devices)  # a DataLoader that loads on into the next epoch
        optimizer = create_optimizer(model, config)  # as --optimizer says: SGD with momentum, AdamW, or the model's own

        # `run` takes the same step, by `training.step`: to check the gradient, to warm up, to see where a step goes.
        training = Training(train_step, model, optimizer, loader, config)  # adds the model's loss, and fp16's scaler
        run.prepare(training)  # resumes, checks the gradient, compiles, warms up, and then sets the weights back
        for epoch in run.epochs():
            sampler.set_epoch(epoch)  # without it every epoch repeats the order of the first
            for micro_batches in run.timed(loader):  # those of one step; timed from here to here, wait included
                losses = train_step(training, micro_batches)
                run.log(losses)
        run.profile(training)  # extra steps, timed part by part: they change the weights, and count for no speed
    dist.destroy_process_group()  # not when the run fails: another rank may be in a collective
