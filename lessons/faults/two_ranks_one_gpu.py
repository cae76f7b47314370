"""Two ranks that take the same GPU, over NCCL.

CUDA_VISIBLE_DEVICES=0 torchrun --standalone --nproc_per_node=2 -m lessons.faults.two_ranks_one_gpu [--right]
"""

import sys

import torch
import torch.distributed as dist

RIGHT = "--right" in sys.argv

dist.init_process_group("gloo" if RIGHT else "nccl")  # WRONG: NCCL wants a GPU for each rank
value = torch.ones(1, device="cuda:0")
dist.all_reduce(value)
print(f"rank {dist.get_rank()}: the sum over two ranks is {value.item():.0f}", flush=True)
dist.destroy_process_group()
