"""The optimizer of all methods."""

from __future__ import annotations

import torch
from torch import nn

from common.records import RunConfig
from common.training.models import unwrap


def create_optimizer(model: nn.Module, config: RunConfig) -> torch.optim.Optimizer:
    """SGD with momentum, AdamW, or the workload's own, over the parameters of `model`, bare or wrapped."""
    own = unwrap(model).own_optimizer
    if config.optimizer == "own" and own:
        return own(model.parameters())
    fused = config.fused_optimizer or None  # None, and not False: torch then chooses between the other two
    rates = {"lr": config.learning_rate, "weight_decay": config.weight_decay}
    if config.optimizer == "adamw":
        return torch.optim.AdamW(model.parameters(), betas=(config.momentum, 0.999), fused=fused, **rates)
    return torch.optim.SGD(model.parameters(), momentum=config.momentum, fused=fused, **rates)


def described_optimizer(optimizer: torch.optim.Optimizer) -> str:
    """Its class and numbers: `AdamW lr=0.0003 betas=(0.9, 0.95) weight_decay=0.1`."""
    numbers = {
        name: value
        for name, value in optimizer.param_groups[0].items()
        if name not in ("params", "eps") and not isinstance(value, bool) and value
    }
    return " ".join([type(optimizer).__name__, *(f"{name}={_short(value)}" for name, value in numbers.items())])


def _short(value: object) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_short, value))})"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
