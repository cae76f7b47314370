"""The one training loop that 02, 03 and 04 share."""

from __future__ import annotations

from math import isfinite

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.data import DataLoader

from common import memory, parity
from common.data import Batch, checksum, expected_indices
from common.gpu_sampler import GpuSampler
from common.metrics import Epoch
from common.models import Classifier
from common.ranks import barrier
from common.recording import Run
from common.timing import EpochTimes, StepClock


def train(model: nn.Module, loader: DataLoader, run: Run) -> None:
    """Parity check, warm-up, measured epochs; what they gave is left in `run`.

    `model` is a `Classifier`, bare or wrapped in DataParallel or DistributedDataParallel; nothing below knows which.
    """
    config, place = run.config, run.place
    run.announce()
    classifier = model if isinstance(model, Classifier) else model.module
    run.parity_done(parity.check(model, classifier, loader.dataset, place))
    trainer = Trainer(model, classifier, loader, run)

    run.progress.phase("warm-up", config.warmup_steps)
    trainer.warm_up()

    memory.reset_peaks(place)
    sampler = GpuSampler(place.indices if place.kind == "cuda" else (), run.pids)
    sampler.start()
    for epoch in range(1, config.epochs + 1):
        run.progress.phase(f"epoch {epoch}/{config.epochs}", trainer.steps_per_epoch)
        trainer.measured_epoch(epoch)
    sampler.stop()
    run.measured(memory.read_peaks(place, sampler), [sampler.health(index) for index in place.indices])
    run.static_memory = memory.static_memory(classifier, trainer.optimizer)


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

    def step(self, batch: Batch) -> Tensor:
        """One optimizer step; the mean loss of this process's samples, left on the device."""
        images = batch.images.to(self.device, non_blocking=True)
        labels = batch.labels.to(self.device, non_blocking=True)
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.classifier.loss(self.model(images), labels)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
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
