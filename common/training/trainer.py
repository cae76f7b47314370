"""The optimizer step and the measured epoch that 02, 03 and 04 share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from math import ceil, isfinite

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.data import DataLoader

from common.machine.ranks import barrier
from common.measuring.clocks import StepClock
from common.records import Epoch
from common.running.run import Run
from common.training.batch import Batch
from common.training.data import checksum, expected_indices, in_groups
from common.training.distributed import without_exchange
from common.training.models import Classifier


class Trainer:
    """Model, optimizer and loader, and the step that joins them."""

    def __init__(self, model: nn.Module, classifier: Classifier, loader: DataLoader, run: Run) -> None:
        config = run.config
        self.model, self.classifier, self.loader, self.run = model, classifier, loader, run
        self.device = run.place.first
        self.steps_per_epoch = ceil(len(loader) / config.accumulation_steps)
        self.optimizer = torch.optim.SGD(
            classifier.parameters(),
            lr=config.learning_rate,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
        )
        # fp16 gradients underflow unless the loss is scaled up; in every other precision the scaler does nothing.
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=config.precision == "fp16")

    def step(self, batches: tuple[Batch, ...], phase: Callable[[str], AbstractContextManager] = nullcontext) -> Tensor:
        """One optimizer step over micro-batches of equal size; the mean loss of this process's samples, on the device.

        Gradients add up from micro-batch to micro-batch and are exchanged with those of the last one. `phase` is
        entered around each part of the step, by name, when somebody wants to time them.
        """
        *first, last = batches
        mean_loss = torch.zeros((), device=self.device)
        with without_exchange(self.model):  # the forward belongs inside, too
            for batch in first:
                mean_loss += self._backward(batch, len(batches), phase)
        mean_loss += self._backward(last, len(batches), phase)
        with phase("optimizer"):
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.optimizer.zero_grad(set_to_none=True)
        return mean_loss

    def _backward(self, batch: Batch, parts: int, phase: Callable[[str], AbstractContextManager]) -> Tensor:
        """Add this micro-batch's share of the gradient; returns its share of the mean loss."""
        with phase("copy"):
            images = batch.images.to(self.device, non_blocking=True)
            labels = batch.labels.to(self.device, non_blocking=True)
        with phase("forward"):
            logits = self.model(images)
        with phase("loss"):
            loss = self.classifier.loss(logits, labels) / parts
        with phase("backward"):
            self.scaler.scale(loss).backward()
        return loss.detach()

    def warm_up(self) -> None:
        """Steps that are not counted: the allocator, cuDNN and DDP's buckets settle in them."""
        steps = self.whole_steps()
        for _ in range(self.run.config.warmup_steps):
            self.step(next(steps))
            self.run.progress.advance()

    def whole_steps(self) -> Iterator[tuple[Batch, ...]]:
        """The batches of one step after another, without end and without the smaller last step of an epoch."""
        size = self.run.config.accumulation_steps
        while True:
            yield from (batches for batches in in_groups(self.loader, size) if len(batches) == size)

    def measured_epoch(self, epoch: int, done: int = 0, after_step: Callable[[int, StepClock], None] | None = None):
        """Train one epoch by the clock, or what is left of it after its first `done` steps, and enter it into the run.

        `after_step` is called with the number of each finished step and the clock, which it may pause.
        """
        config, sampler = self.run.config, self.loader.sampler
        sampler.set_epoch(epoch)
        sampler.start = done * config.global_batch_size // self.run.place.world.processes
        clock = StepClock(self.run.place)
        seen: list[Batch] = []
        losses: list[Tensor] = []
        barrier()  # the ranks' clocks start together
        clock.start()
        for step, batches in enumerate(in_groups(self.loader, config.accumulation_steps), done + 1):
            clock.data_ready()
            losses.append(self.step(batches))
            seen += [batch._replace(images=None) for batch in batches]
            clock.step_done()
            self.run.progress.advance()
            if after_step:
                after_step(step, clock)
        sampler.start = 0
        self._enter(epoch, done, clock, seen, losses)

    def _enter(self, epoch: int, done: int, clock: StepClock, seen: list[Batch], losses: list[Tensor]) -> None:
        config, times = self.run.config, clock.finish()
        samples = len(seen) * config.micro_batch_size
        weights = torch.full((len(losses),), float(config.accumulation_steps), device=self.device)
        weights[-1] = len(seen) - config.accumulation_steps * (len(losses) - 1)  # micro-batches of the last step
        own = torch.stack(losses)
        mean = (own * weights).sum() / weights.sum()
        if dist.is_initialized():
            dist.all_reduce(mean)
        mean_loss = mean.item() / self.run.place.world.processes
        indices = torch.cat([batch.indices for batch in seen])
        expected = expected_indices(config, epoch, done * config.global_batch_size, samples)
        self.run.epoch_done(
            Epoch(
                epoch=epoch,
                steps=len(losses),
                samples=samples,
                mean_loss=mean_loss if isfinite(mean_loss) else None,
                expected_checksum=f"{checksum(expected):016x}",
                checkpoint_seconds=clock.paused_seconds,
            ),
            times,
            samples=len(indices),
            checksum=f"{checksum(indices):016x}",
            losses=own.tolist(),
            unreadable=[name for batch in seen for name in batch.unreadable],
        )
