"""A model with two heads, of which the loss uses one.

torchrun --standalone --nproc_per_node=2 -m lessons.faults.unused_parameters [--right]
"""

import sys

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from common.running.failures import watched_ranks

RIGHT = "--right" in sys.argv


class TwoHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.first, self.second = nn.Linear(8, 4), nn.Linear(4, 1), nn.Linear(4, 1)

    def forward(self, samples: Tensor) -> Tensor:
        return self.first(self.trunk(samples))  # WRONG under DDP's defaults: it waits for the second head's gradient


def train(rank: int) -> None:
    model = DistributedDataParallel(TwoHeads(), find_unused_parameters=RIGHT)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(3):
        loss = model(torch.randn(16, 8)).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if rank == 0:
            print(f"step {step}: loss {loss.item():.3f}", flush=True)


with watched_ranks(timeout_seconds=5) as rank:
    train(rank)
