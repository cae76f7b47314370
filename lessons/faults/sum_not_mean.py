"""Gradients exchanged by hand, and the losses that follow, beside one device with the whole batch.

torchrun --standalone --nproc_per_node=2 -m lessons.faults.sum_not_mean [--right]
"""

import sys

import torch
import torch.distributed as dist
from torch import nn

RIGHT = "--right" in sys.argv
RATE, EPOCHS = 0.35, 6
SAMPLES = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
TARGETS = SAMPLES.sum(1, keepdim=True)


def exchange(model: nn.Module) -> None:
    for parameter in model.parameters():
        dist.all_reduce(parameter.grad)
        if RIGHT:
            parameter.grad /= dist.get_world_size()  # WRONG without it: twice the gradient on two ranks


def train(mine: slice, exchange=lambda model: None) -> tuple[torch.Tensor, list[float]]:
    """The first gradient, and the loss of all samples after each epoch."""
    torch.manual_seed(0)
    model, losses, first = nn.Linear(8, 1), [], None
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    for _ in range(EPOCHS):
        optimizer.zero_grad()
        (model(SAMPLES[mine]) - TARGETS[mine]).square().mean().backward()
        exchange(model)
        first = model.weight.grad.clone() if first is None else first
        optimizer.step()
        losses.append((model(SAMPLES) - TARGETS).square().mean().item())
    return first, losses


dist.init_process_group("gloo")
(alone, curve), (ours, our_curve) = train(slice(None)), train(slice(dist.get_rank(), None, 2), exchange)
if dist.get_rank() == 0:
    ratio = (ours.norm() / alone.norm()).item()
    print("one device:", *(f"{loss:.3g}" for loss in curve), "\ntwo ranks: ", *(f"{loss:.3g}" for loss in our_curve))
    verdict = "the exchange adds up and does not average" if ratio > 1.01 else "the same gradient"
    print(f"measured: the gradient of two ranks is {ratio:.2f} times that of one device: {verdict}")
dist.destroy_process_group()
