"""Build your own DistributedDataParallel, in the order in which it came about (`04_ddp_training.py --exchange NAME`).

All gradients one after another when the backward pass is done: `PerParameter`. The same in one message: `Flat`. In a
few messages, each as soon as its gradients are complete: `Overlapped`, the idea of torch's own class (Li et al. 2020,
arXiv 2006.15704). All of them average the gradients over the ranks before `backward()` returns, so that the rest of the
lab cannot tell them from torch's: gradient scaling, accumulation, parity and checkpoints work as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd import Variable

from common.records import Exchange

BUCKET_BYTES = 25 * 2**20
"""As in torch, whose first bucket is smaller."""


class OwnExchange(nn.Module):
    """What the three have in common: equal weights at the start, and an exchange with every backward pass."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.exchanging = True
        self.trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
        for tensor in (*module.parameters(), *module.buffers()):
            dist.broadcast(tensor.detach(), src=0)

    def forward(self, images: Tensor) -> Tensor:
        """Images -> logits, as the module gives them; the backward pass will exchange gradients."""
        logits = self.module(images)
        if self.exchanging and logits.requires_grad:
            # This hook is called as a backward pass begins, and what is queued there when the pass ends.
            logits.register_hook(lambda _: Variable._execution_engine.queue_callback(self.after_backward))
        return logits

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


class PerParameter(OwnExchange):
    """An all-reduce for each parameter after the backward pass: as many latencies as there are parameters."""

    def after_backward(self) -> None:
        for gradient in gradients_of(self.trained):
            dist.all_reduce(gradient)  # a sum: gloo knows no mean
            gradient /= dist.get_world_size()


class Flat(OwnExchange):
    """All gradients in one row, in one all-reduce after the backward pass: one latency, and two copies."""

    def after_backward(self) -> None:
        gradients = gradients_of(self.trained)
        row = in_a_row(gradients)
        dist.all_reduce(row)
        take_mean(gradients, row)


class Overlapped(OwnExchange):
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
        row = in_a_row(gradients)
        self.started.append((gradients, row, dist.all_reduce(row, async_op=True)))

    def after_backward(self) -> None:
        while len(self.started) < len(self.buckets):  # a parameter that this step did not use is still missing
            self.start_next()
        for gradients, row, exchange in self.started:
            exchange.wait()
            take_mean(gradients, row)
        self.started.clear()
        self.missing = [len(bucket) for bucket in self.buckets]


def in_buckets(parameters: Sequence[nn.Parameter], limit_bytes: int) -> list[list[nn.Parameter]]:
    """The parameters in their order, cut where a bucket would exceed the limit."""
    buckets: list[list[nn.Parameter]] = []
    held = limit_bytes
    for parameter in parameters:
        if held + parameter.nbytes > limit_bytes or not buckets:
            buckets.append([])
            held = 0
        buckets[-1].append(parameter)
        held += parameter.nbytes
    return buckets


def gradients_of(parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    """Those that there are: a step that does not use a parameter leaves it without one, on every rank alike."""
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


def in_a_row(gradients: Sequence[Tensor]) -> Tensor:
    """A copy of them all, as one vector."""
    return torch.cat([gradient.flatten() for gradient in gradients])


def take_mean(gradients: Sequence[Tensor], row: Tensor) -> None:
    """Copy the mean over the ranks, whose sum is in `row`, back to the gradients."""
    row /= dist.get_world_size()
    for gradient, part in zip(gradients, row.split([gradient.numel() for gradient in gradients]), strict=True):
        gradient.copy_(part.view(gradient.shape))


EXCHANGES: dict[Exchange, type[OwnExchange]] = {"per-parameter": PerParameter, "flat": Flat, "overlapped": Overlapped}
