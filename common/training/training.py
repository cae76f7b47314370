"""What the scripts' `train_step` works with: the optimizer of all methods, what an epoch leaves, and validation."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from math import ceil, isfinite
from time import perf_counter

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from common.machine.devices import barrier
from common.records import PhaseName, RunConfig, Validation
from common.training.batch import Batch
from common.training.loader import ContinuousLoader
from common.training.models import unwrap

Phase = Callable[[PhaseName], object]
"""Called as each part of a step begins, for callers that time it."""


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

    def short(value: object) -> str:
        if isinstance(value, tuple):
            return f"({', '.join(map(short, value))})"
        return f"{value:.4g}" if isinstance(value, float) else str(value)

    numbers = [
        f"{name}={short(value)}"
        for name, value in optimizer.param_groups[0].items()
        if name not in ("params", "eps") and not isinstance(value, bool) and value
    ]
    return " ".join([type(optimizer).__name__, *numbers])


@dataclass
class Training:
    """A script's step, and what it trains: the model (bare or wrapped), its optimizer and the loader that feeds it."""

    train_step: Callable[["Training", Sequence[Batch], Phase], list[Tensor]]
    model: nn.Module
    optimizer: torch.optim.Optimizer
    loader: ContinuousLoader
    config: RunConfig

    def __post_init__(self) -> None:
        self.module = unwrap(self.model)
        self.loss = self.module.loss
        self.device = next(self.module.parameters()).device
        # fp16 gradients underflow unless the loss is scaled up; in every other precision the scaler does nothing.
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.config.precision == "fp16")

    def step(self, micro_batches: Sequence[Batch], phase: Phase = lambda name: None) -> list[Tensor]:
        """One optimizer step, as the script takes it; returns each micro-batch's mean loss, on the device."""
        return self.train_step(self, micro_batches, phase)

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps; the last one of an epoch may have fewer micro-batches."""
        return ceil(len(self.loader) / self.config.accumulation_steps)

    def steps_of(self, loader: Iterable[Batch]) -> Iterator[tuple[Batch, ...]]:
        """The micro-batches of one step after another; the last step of an epoch may have fewer."""
        batches = iter(loader)
        while micro_batches := tuple(islice(batches, self.config.accumulation_steps)):
            yield micro_batches

    def endless_steps(self) -> Iterator[tuple[Batch, ...]]:
        """The micro-batches of one step after another, without end, whichever epochs they belong to."""
        while True:
            yield tuple(self.loader.next_batch() for _ in range(self.config.accumulation_steps))


def has_exchange(model: nn.Module) -> bool:
    """Whether its backward pass exchanges gradients between processes: torch's DDP, and those built by hand."""
    return hasattr(model, "no_sync")


class TrainedEpoch:
    """What this rank has trained of an epoch: its batches and losses, as they come."""

    losses: list[float]
    """Of each step, this rank's samples alone; there once `read_losses` was called."""
    mean_loss: float
    """Over the samples of all ranks; there with `losses`."""

    def __init__(self, number: int = 1, steps_before: int = 0) -> None:
        """`steps_before`: those of the epoch that were taken before this run."""
        self.number, self.steps_before, self.steps_done = number, steps_before, steps_before
        self.batches: list[Batch] = []
        """What this rank has seen, without inputs and targets."""
        self._losses: list[list[Tensor]] = []

    def add_step(self, micro_batches: Sequence[Batch]) -> None:
        """Keep what a step was taken with."""
        self.steps_done += 1
        self.batches += [batch._replace(inputs=None, targets=None) for batch in micro_batches]

    def log(self, losses: list[Tensor]) -> None:
        """Keep the losses of a step's micro-batches, unread: reading one would wait for the device."""
        self._losses.append(losses)

    def read_losses(self) -> None:
        """Read what was kept, now that nothing is measured any more. All ranks call it."""
        # Micro-batches are of equal size, so a mean of means is exact.
        self.losses = torch.stack([torch.stack(parts).mean() for parts in self._losses]).tolist()
        mean = torch.stack([loss for parts in self._losses for loss in parts]).mean()
        if dist.is_initialized():
            dist.all_reduce(mean)
            mean /= dist.get_world_size()
        self.mean_loss = mean.item()


def validate(model: nn.Module, loader: DataLoader, device: torch.device) -> tuple[Validation | None, list[str]]:
    """Every rank classifies its share and the counts are summed; None where no image can be decoded.

    Also returns the files of this rank that could not be.

    DataParallel spreads its batches over its devices. DDP's wrapper would only get in the way of ranks whose shares
    differ in size, so that there, as on one device, the bare classifier is asked.
    """
    started = perf_counter()
    classify = model if isinstance(model, nn.DataParallel) else getattr(model, "module", model)
    sums = torch.zeros(4, dtype=torch.float64, device=device)  # samples, right at first, within five, loss
    unreadable: list[str] = []
    model.eval()
    with torch.no_grad():
        for batch in loader:
            unreadable += batch.unreadable
            if not len(batch.targets):
                continue
            images, labels = batch.to(device)
            logits = classify(images)  # in evaluation, models with several heads give the main one's
            right = logits.topk(min(5, logits.shape[1])).indices == labels[:, None]
            loss = cross_entropy(logits, labels, reduction="sum")
            sums += torch.stack([torch.tensor(len(labels), device=device), right[:, 0].sum(), right.sum(), loss])
    model.train()
    if dist.is_initialized():
        dist.all_reduce(sums)
    samples, first, five, loss = sums.tolist()
    barrier()
    if not samples:
        return None, unreadable
    validation = Validation(
        samples=int(samples),
        top1=first / samples,
        top5=five / samples,
        mean_loss=loss / samples if isfinite(loss) else None,
        seconds=perf_counter() - started,
    )
    return validation, unreadable
