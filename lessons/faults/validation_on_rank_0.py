"""Rank 0 validates after every epoch, with the model under DDP, which copies BatchNorm's buffers to all ranks first.

torchrun --standalone --nproc_per_node=2 -m lessons.faults.validation_on_rank_0 [--right]
"""

import sys

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from common.running.failures import watched_ranks

RIGHT = "--right" in sys.argv


def train(rank: int) -> None:
    torch.manual_seed(rank)
    model = DistributedDataParallel(nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(3):
        model(torch.randn(16, 8)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        if rank == 0:
            validated = model.module if RIGHT else model  # WRONG: its forward is an exchange that nobody else knows of
            outputs = validated(torch.randn(16, 8))
            print(f"epoch {epoch}: validation loss {outputs.square().mean().item():.3f}", flush=True)


with watched_ranks(timeout_seconds=5) as rank:
    train(rank)
