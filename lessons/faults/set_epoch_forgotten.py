"""The order of the samples in each epoch, as a DistributedSampler gives it.

torchrun --standalone --nproc_per_node=2 -m lessons.faults.set_epoch_forgotten [--right]
"""

import sys

import torch.distributed as dist
from torch.utils.data import DataLoader, DistributedSampler

RIGHT = "--right" in sys.argv

dist.init_process_group("gloo")
sampler = DistributedSampler(range(16), shuffle=True)
loader = DataLoader(range(16), batch_size=2, sampler=sampler)
orders = []
for epoch in range(3):
    if RIGHT:
        sampler.set_epoch(epoch)  # WRONG without it: the permutation is drawn from seed + epoch, and epoch stays 0
    orders.append([sample for batch in loader for sample in batch.tolist()])
    print(f"rank {dist.get_rank()}, epoch {epoch}: samples {orders[-1]}", flush=True)
dist.barrier()
if dist.get_rank() == 0:
    different = len(set(map(tuple, orders)))
    if different < len(orders):
        print(f"measured: {len(orders)} epochs, orders: {different}; they repeat, as without set_epoch")
    else:
        print(f"measured: {len(orders)} epochs, orders: {different}")
dist.destroy_process_group()
