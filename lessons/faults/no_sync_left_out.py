"""Four micro-batches a step: how often are gradients exchanged, and what does a step take?

torchrun --standalone --nproc_per_node=2 -m lessons.faults.no_sync_left_out [--right]
"""

import sys
from contextlib import nullcontext
from time import perf_counter

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel

RIGHT = "--right" in sys.argv
PARTS, STEPS = 4, 5
exchanges = []


def counting(state, bucket):
    exchanges.append(bucket.index())
    return allreduce_hook(None, bucket)


dist.init_process_group("gloo")
torch.set_num_threads(1)
model = DistributedDataParallel(nn.Linear(1000, 1000))
model.register_comm_hook(None, counting)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
started = perf_counter()
for _ in range(STEPS):
    for part, batch in enumerate(torch.randn(4 * PARTS, 1000).chunk(PARTS), 1):
        with model.no_sync() if RIGHT and part < PARTS else nullcontext():  # WRONG without it: all four exchange
            (model(batch).square().mean() / PARTS).backward()
    optimizer.step()
    optimizer.zero_grad()
seconds = (perf_counter() - started) / STEPS
if dist.get_rank() == 0:
    once = exchanges.count(0) / STEPS
    verdict = "once would do, with no_sync()" if once > 1 else "as often as is needed"
    times = f"{once:.0f} times in a step of {PARTS} micro-batches ({1000 * seconds:.0f} ms)"
    print(f"measured: gradients are exchanged {times}: {verdict}")
dist.destroy_process_group()
