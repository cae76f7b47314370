"""Two ranks with the batch of one each: the global batch is twice as large, and an epoch has half as many steps.

torchrun --standalone --nproc_per_node=2 -m lessons.faults.rate_not_scaled [--right]
"""

import sys

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

RIGHT = "--right" in sys.argv
RATE, BATCH, EPOCHS = 0.01, 8, 5
SAMPLES = torch.randn(256, 8, generator=torch.Generator().manual_seed(0))
TARGETS = SAMPLES.sum(1, keepdim=True)


def train(ranks: int, rank: int, rate: float) -> list[float]:
    """The loss of all samples after each epoch."""
    torch.manual_seed(0)
    model, losses = nn.Linear(8, 1), []
    wrapped = DistributedDataParallel(model) if ranks > 1 else model
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    for _ in range(EPOCHS):
        for first in range(rank * BATCH, len(SAMPLES), ranks * BATCH):
            optimizer.zero_grad()
            (wrapped(SAMPLES[first : first + BATCH]) - TARGETS[first : first + BATCH]).square().mean().backward()
            optimizer.step()
        losses.append((model(SAMPLES) - TARGETS).square().mean().item())
    return losses


dist.init_process_group("gloo")
ranks = dist.get_world_size()
alone = train(1, 0, RATE)
ours = train(ranks, dist.get_rank(), RATE * ranks if RIGHT else RATE)  # WRONG: half as many steps of the same length
if dist.get_rank() == 0:
    print("one device:", *(f"{loss:.3g}" for loss in alone), "\ntwo ranks: ", *(f"{loss:.3g}" for loss in ours))
    verdict = "scale the learning rate with the global batch" if ours[-1] > 1.5 * alone[-1] else "it keeps up"
    print(f"measured: after {EPOCHS} epochs the loss is {ours[-1] / alone[-1]:.1f} times that of one device: {verdict}")
dist.destroy_process_group()
