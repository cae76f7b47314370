"""21 samples for two ranks: one gets 11 and the other 10, in batches of two 6 and 5.

torchrun --standalone --nproc_per_node=2 -m lessons.faults.uneven_batches [--right]
"""

import sys
from contextlib import nullcontext

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from common.running.failures import watched_ranks

RIGHT = "--right" in sys.argv
SAMPLES = torch.arange(21.0).view(-1, 1)


def train(rank: int) -> None:
    mine = SAMPLES[rank::2]  # WRONG without join(): nothing makes the shares equal, as DistributedSampler would
    model = DistributedDataParallel(nn.Linear(1, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    with model.join() if RIGHT else nullcontext():  # join() answers for a rank that has run out of batches
        for batch in mine.split(2):
            model(batch).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
    print(f"rank {rank}: {len(mine.split(2))} batches", flush=True)


with watched_ranks(timeout_seconds=5) as rank:
    train(rank)
