"""The optimizer of all methods."""

from __future__ import annotations

import torch
from torch import nn

from common.records import RunConfig


def create_optimizer(model: nn.Module, config: RunConfig) -> torch.optim.Optimizer:
    """SGD with momentum and weight decay over the parameters of `model`, bare or wrapped."""
    return torch.optim.SGD(
        model.parameters(),
        lr=config.learning_rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        fused=config.fused_optimizer or None,  # None, and not False: torch then chooses between the other two
    )
