"""Four micro-batches a step; after some steps, are the weights of the two ranks still equal?

torchrun --standalone --nproc_per_node=2 -m lessons.faults.no_sync_misplaced [--right]
"""

import sys
from contextlib import nullcontext

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

RIGHT = "--right" in sys.argv
PARTS = 4

dist.init_process_group("gloo")
torch.manual_seed(dist.get_rank())  # each rank has samples of its own
model = DistributedDataParallel(nn.Linear(8, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(10):
    for part, batch in enumerate(torch.randn(4 * PARTS, 8).chunk(PARTS), 1):
        is_silent = part < PARTS if RIGHT else part > 1  # WRONG: the first exchanges, before the others have added up
        with model.no_sync() if is_silent else nullcontext():
            ((model(batch) - batch.sum(1, keepdim=True)).square().mean() / PARTS).backward()
    optimizer.step()
    optimizer.zero_grad()
weights = [torch.empty_like(model.module.weight) for _ in range(2)]
dist.all_gather(weights, model.module.weight.detach())
if dist.get_rank() == 0:
    apart = ((weights[0] - weights[1]).norm() / weights[0].norm()).item()
    verdict = "each rank trains a model of its own: the last micro-step must exchange" if apart else "one model"
    print(f"measured: after 10 steps the weights of the two ranks differ by {apart:.1%}: {verdict}")
dist.destroy_process_group()
