"""The optimizer step that 02, 03 and 04 share. Read it right after them: the rest of the lab is built around it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from math import ceil

import torch
from torch import Tensor, nn

from common.records import PhaseName, RunConfig
from common.training.batch import Batch
from common.training.loader import ContinuousLoader
from common.training.models import bare, has_exchange


class Training:
    """What a step works with: a model (bare or wrapped), its optimizer, the loader that feeds it."""

    def __init__(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, loader: ContinuousLoader, config: RunConfig
    ) -> None:
        self.model, self.optimizer, self.loader, self.config = model, optimizer, loader, config
        self.classifier = bare(model)
        self.device = next(self.classifier.parameters()).device
        # fp16 gradients underflow unless the loss is scaled up; in every other precision the scaler does nothing.
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=config.precision == "fp16")

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps; the last one of an epoch may have fewer micro-batches."""
        return ceil(len(self.loader) / self.config.accumulation_steps)

    def whole_steps(self) -> Iterator[tuple[Batch, ...]]:
        """The micro-batches of one step after another, without end, whichever epochs they belong to."""
        while True:
            yield tuple(self.loader.next_batch() for _ in range(self.config.accumulation_steps))


def training_step(
    training: Training, batches: Sequence[Batch], phase: Callable[[PhaseName], object] = lambda name: None
) -> list[Tensor]:
    """One optimizer step; returns each micro-batch's mean loss, on the device: reading it here would stop the GPU.

    There is one batch, or, with `--accumulation-steps`, several equal ones whose gradients add up. `phase` is told when
    a part of the step begins, for those who want to time it.
    """
    model, device, scaler = training.model, training.device, training.scaler
    losses = []
    for batch in exchanging_last(model, batches):
        phase("copy")
        images = batch.images.to(device, non_blocking=True)
        labels = batch.labels.to(device, non_blocking=True)
        phase("forward")
        logits = model(images)
        phase("loss")
        loss = training.classifier.loss(logits, labels)
        phase("backward")
        scaler.scale(loss / len(batches)).backward()
        losses.append(loss.detach())
    phase("optimizer")
    scaler.step(training.optimizer)
    scaler.update()
    training.optimizer.zero_grad(set_to_none=True)
    return losses


def exchanging_last(model: nn.Module, batches: Sequence[Batch]) -> Iterator[Batch]:
    """The micro-batches of a step, one after another. DDP exchanges gradients with those of the last one alone.

    What the caller does with a batch, forward and backward, happens inside `no_sync()` for all others. Only step 04's
    models have an exchange to put off; elsewhere gradients simply add up.
    """
    *first, last = batches
    with model.no_sync() if first and has_exchange(model) else nullcontext():
        yield from first
    yield last
