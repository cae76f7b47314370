"""The optimizer step and the measured epoch that 02, 03 and 04 share."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from math import isfinite

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.data import DataLoader

from common.data import Batch, checksum, expected_indices
from common.metrics import Epoch
from common.models import Classifier
from common.ranks import barrier
from common.recording import Run
from common.timing import EpochTimes, StepClock


class Trainer:
    """Model, optimizer and loader, and the step that joins them."""

    def __init__(self, model: nn.Module, classifier: Classifier, loader: DataLoader, run: Run) -> None:
        config = run.config
        self.model, self.classifier, self.loader, self.run = model, classifier, loader, run
        self.device = run.place.first
        self.steps_per_epoch = len(loader)
        self.optimizer = torch.optim.SGD(
            classifier.parameters(),
            lr=config.learning_rate,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
        )
        # fp16 gradients underflow unless the loss is scaled up; in every other precision the scaler does nothing.
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=config.precision == "fp16")

    def step(self, batch: Batch, phase: Callable[[str], AbstractContextManager] = nullcontext) -> Tensor:
        """One optimizer step; the mean loss of this process's samples, left on the device.

        `phase` is entered around each part of the step, by name, when somebody wants to time them.
        """
        with phase("copy"):
            images = batch.images.to(self.device, non_blocking=True)
            labels = batch.labels.to(self.device, non_blocking=True)
        with phase("forward"):
            logits = self.model(images)
        with phase("loss"):
            loss = self.classifier.loss(logits, labels)
        with phase("backward"):
            self.scaler.scale(loss).backward()
        with phase("optimizer"):
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    def warm_up(self) -> None:
        """Steps that are not counted: the allocator, cuDNN and DDP's buckets settle in them."""
        done = 0
        while done < self.run.config.warmup_steps:
            for batch in self.loader:
                self.step(batch)
                done += 1
                self.run.progress.advance()
                if done == self.run.config.warmup_steps:
                    break

    def measured_epoch(self, epoch: int) -> None:
        """Train one epoch by the clock and enter it into the run."""
        self.loader.sampler.set_epoch(epoch)
        clock = StepClock(self.run.place)
        indices: list[Tensor] = []
        losses = torch.zeros((), device=self.device)
        barrier()  # the ranks' clocks start together
        clock.start()
        for batch in self.loader:
            clock.data_ready()
            losses += self.step(batch)
            indices.append(batch.indices)
            clock.step_done()
            self.run.progress.advance()
        self._enter(epoch, clock.finish(), torch.cat(indices), losses)

    def _enter(self, epoch: int, times: EpochTimes, indices: Tensor, losses: Tensor) -> None:
        config = self.run.config
        steps = len(times.steps)
        if dist.is_initialized():
            dist.all_reduce(losses)
        mean_loss = losses.item() / (steps * self.run.place.world.processes)
        self.run.epoch_done(
            Epoch(
                epoch=epoch,
                steps=steps,
                samples=steps * config.global_batch_size,
                mean_loss=mean_loss if isfinite(mean_loss) else None,
                expected_checksum=f"{checksum(expected_indices(config, epoch, steps)):016x}",
            ),
            times,
            samples=len(indices),
            checksum=f"{checksum(indices):016x}",
        )
