"""One measured epoch: the loop over the batches, by the clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from common.measuring.clocks import EpochTimes, StepClock
from common.training.batch import Batch
from common.training.data import in_groups
from common.training.step import Training, training_step


@dataclass(frozen=True)
class EpochResult:
    """What one rank knows of an epoch that it has trained."""

    times: EpochTimes
    losses: list[float]
    """Of each step, this rank's samples alone."""
    mean_loss: float
    """Over the samples of all ranks."""
    micro_batches: int
    indices: Tensor
    """(samples,) int64: which samples this rank has seen."""
    unreadable: list[str]
    """Files that could not be decoded."""
    checkpoint_seconds: float


def measured_epoch(training: Training, clock: StepClock, after_step: Callable[[int], object]) -> EpochResult:
    """Train what the loader yields, one optimizer step after another, and say how long each took.

    All ranks call it at the same moment. `after_step` is called with the number of the steps done so far; what takes
    time there belongs inside `clock.paused()`.
    """
    seen: list[Batch] = []
    losses: list[list[Tensor]] = []
    clock.start()
    for batches in in_groups(training.loader, training.config.accumulation_steps):
        clock.data_ready()
        losses.append(training_step(training, batches))
        clock.step_done()
        seen += [batch._replace(images=None) for batch in batches]
        after_step(len(losses))
    times = clock.finish()
    # Read only now, when nothing is measured any more: micro-batches are of equal size, so a mean of means is exact.
    of_steps = [torch.stack(parts).mean() for parts in losses]
    mean = torch.stack([loss for parts in losses for loss in parts]).mean()
    if dist.is_initialized():
        dist.all_reduce(mean)
        mean /= dist.get_world_size()
    return EpochResult(
        times=times,
        losses=torch.stack(of_steps).tolist(),
        mean_loss=mean.item(),
        micro_batches=len(seen),
        indices=torch.cat([batch.indices for batch in seen]),
        unreadable=[name for batch in seen for name in batch.unreadable],
        checkpoint_seconds=clock.paused_seconds,
    )
