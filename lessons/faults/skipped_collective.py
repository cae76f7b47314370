"""Every rank has its own loss, and the mean of all is printed: on rank 0, so only rank 0 asks for it.

torchrun --standalone --nproc_per_node=2 -m lessons.faults.skipped_collective [--right]
"""

import sys

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from common.running.failures import watched_ranks

RIGHT = "--right" in sys.argv


def train(rank: int) -> None:
    torch.manual_seed(rank)
    model = DistributedDataParallel(nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(3):
        loss = model(torch.randn(16, 8)).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        mean = loss.detach()
        if RIGHT:
            dist.reduce(mean, dst=0)  # every rank takes part, and rank 0 has the sum
        elif rank == 0:
            dist.reduce(mean, dst=0)  # WRONG: the others never come here
        if rank == 0:
            print(f"epoch {epoch}: loss {mean.item() / 2:.3f}", flush=True)


with watched_ranks(timeout_seconds=5) as rank:
    train(rank)
