"""A loader that replaces a broken sample by another one, and looks for it for ever.

torchrun --standalone --nproc_per_node=2 -m lessons.faults.endless_loader [--right]
"""

import sys
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from common.running.failures import watched_ranks

RIGHT = "--right" in sys.argv
BROKEN = {1: range(20, 30)}
"""By rank: on the disk of rank 1 a part of the samples is broken, and no other one stands in its place."""


def batches(rank: int) -> Iterator[Tensor]:
    for number in range(0, 40, 10):
        tried = number
        while tried in BROKEN.get(rank, ()):
            tried = (tried + 1) % 40 if RIGHT else (tried + 1) % 10 + 20  # WRONG: never leaves the broken part
        yield torch.full((4, 1), float(tried))


def train(rank: int) -> None:
    model = DistributedDataParallel(nn.Linear(1, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-5)
    for step, batch in enumerate(batches(rank)):
        model(batch).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        print(f"rank {rank}: step {step}", flush=True)


with watched_ranks(timeout_seconds=5) as rank:
    train(rank)
