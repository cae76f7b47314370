"""The least code that trains the lab's model on the lab's data: what `harness_overhead.py` holds 02 and 04 against.

Same model, batch, thread count, data and order; one clock reading before the epochs and one after; nothing recorded.
Prints samples per second. Started by torchrun it wraps the model in DDP.
"""

import argparse
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
import torch.distributed as dist
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler

from common.data import SyntheticImageNet
from common.models import MEAN, STD, import_torchvision

parser = argparse.ArgumentParser()
parser.add_argument("--model", default="resnet18")
for name in ("batch-size", "epochs", "samples-per-epoch", "image-size", "warmup-steps"):
    parser.add_argument(f"--{name}", type=int, required=True)
args = parser.parse_args()

torch.set_num_threads(1)
torch.manual_seed(0)
rank, ranks = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
model = import_torchvision().models.get_model(args.model)
if "RANK" in os.environ:
    dist.init_process_group("gloo")
    model = DistributedDataParallel(model, gradient_as_bucket_view=True)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1 * args.batch_size * ranks / 256, momentum=0.9, weight_decay=1e-4)
data = SyntheticImageNet(args.samples_per_epoch, args.image_size, 1000, seed=0)
sampler = DistributedSampler(data, ranks, rank)
loader = DataLoader(data, args.batch_size, sampler=sampler, drop_last=True, collate_fn=tuple)
mean, std = (torch.tensor(values).view(3, 1, 1) * 255 for values in (MEAN, STD))


def step(images: torch.Tensor, labels: torch.Tensor) -> None:
    optimizer.zero_grad()
    cross_entropy(model((images - mean) / std), labels).backward()
    optimizer.step()


for _, (images, labels, _) in zip(range(args.warmup_steps), loader, strict=False):
    step(images, labels)
if ranks > 1:
    dist.barrier()
started = time.perf_counter()
for epoch in range(1, args.epochs + 1):
    sampler.set_epoch(epoch)
    for images, labels, _ in loader:
        step(images, labels)
if ranks > 1:
    dist.barrier()
seconds = time.perf_counter() - started
if rank == 0:
    print(args.epochs * len(loader) * args.batch_size * ranks / seconds)
if dist.is_initialized():
    dist.destroy_process_group()
