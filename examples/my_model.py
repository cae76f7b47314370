"""A model of your own: fill in build(), then measure it.

    python 02_baseline_single_gpu.py --model my_model.py:build --batch-size 16
    python 03_dataparallel_training.py --model my_model.py:build --batch-size 32 --gpus 0,1
    torchrun --standalone --nproc_per_node=2 04_ddp_training.py --model my_model.py:build --batch-size 16
    python 05_performance_comparison.py

Leave out .cuda(), DataParallel and DistributedDataParallel: that is what the steps do. docs/models.md has more.
"""

import torch
from torch import nn

from common.workload import Workload


def build():
    """Called once in every process. A plain nn.Module will do as well, if it goes from images to logits."""
    return Workload(
        model=nn.Sequential(nn.Linear(128, 512), nn.ReLU(), nn.Linear(512, 10)),
        sample=sample,
        loss=nn.CrossEntropyLoss(),
        unit="samples",  # what is counted: "images", "tokens" (and units_per_sample=512) or "samples"
        optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=1e-3),  # leave it out for SGD with momentum
    )


def sample(seed, index):
    """One sample (inputs, targets), the same for the same two numbers. A tuple or dict of inputs is fine, too."""
    random = torch.Generator().manual_seed(hash((seed, index)) % 2**63)
    inputs = torch.randn(128, generator=random)
    return inputs, inputs[:10].argmax()
