"""What the scripts' `train_step` works with, and the optimizer of all methods."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor, nn

from common.records import PhaseName, RunConfig
from common.training.batch import Batch, Nested
from common.training.loader import ContinuousLoader
from common.training.models import has_exchange, unwrap


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


Phase = Callable[[PhaseName], object]
"""Called as each part of a step begins, for callers that time it."""


@dataclass
class Training:
    """A script's step, and what it trains: the model (bare or wrapped), its optimizer and the loader that feeds it."""

    train_step: Callable[[Training, Sequence[Batch], Phase], list[Tensor]]
    model: nn.Module
    optimizer: torch.optim.Optimizer
    loader: ContinuousLoader
    config: RunConfig

    def __post_init__(self) -> None:
        self.module = unwrap(self.model)
        self.device = next(self.module.parameters()).device
        # fp16 gradients underflow unless the loss is scaled up; in every other precision the scaler does nothing.
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.config.precision == "fp16")

    def step(self, micro_batches: Sequence[Batch], phase: Phase = lambda name: None) -> list[Tensor]:
        """One optimizer step, as the script takes it; returns each micro-batch's mean loss, on the device."""
        return self.train_step(self, micro_batches, phase)

    def loss(self, outputs: Nested, targets: Nested) -> Tensor:
        """Mean over a micro-batch: a scalar."""
        return self.module.loss(outputs, targets)

    def no_sync(self) -> AbstractContextManager:
        """DDP's `no_sync()`: inside, gradients add up and are not exchanged. Elsewhere there is nothing to put off."""
        return self.model.no_sync() if has_exchange(self.model) else nullcontext()

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps; the last one of an epoch may have fewer micro-batches."""
        return ceil(len(self.loader) / self.config.accumulation_steps)

    def endless_steps(self) -> Iterator[tuple[Batch, ...]]:
        """The micro-batches of one step after another, without end, whichever epochs they belong to."""
        while True:
            yield tuple(self.loader.next_batch() for _ in range(self.config.accumulation_steps))
