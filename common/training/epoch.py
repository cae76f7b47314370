"""One epoch: the measured one, by the clock, and a pass over the validation images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from math import isfinite
from time import perf_counter

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from common.machine.ranks import barrier
from common.measuring.clocks import EpochTimes, StepClock
from common.records import Validation
from common.training.batch import Batch
from common.training.models import TrainedModel


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


class TimedEpoch:
    """An epoch by the clock, which runs as long as `steps` is iterated over. All ranks begin at the same moment."""

    def __init__(self, clock: StepClock, after_step: Callable[[int], object] = lambda steps: None) -> None:
        """`after_step` is called with the number of steps done; what takes time there belongs in `clock.paused()`."""
        self._clock, self._after_step = clock, after_step
        self._seen: list[Batch] = []
        self._losses: list[list[Tensor]] = []

    def steps(self, loader: Iterable[Batch], accumulation_steps: int) -> Iterator[tuple[Batch, ...]]:
        """The micro-batches of one optimizer step after another; the last step may have fewer.

        A step lasts from the end of the one before to the moment when the next one is asked for.
        """
        clock, batches = self._clock, iter(loader)
        clock.start()
        steps = 0
        while micro_batches := tuple(islice(batches, accumulation_steps)):
            clock.data_ready()
            yield micro_batches
            clock.step_done()
            steps += 1
            self._seen += [batch._replace(inputs=None, targets=None) for batch in micro_batches]
            self._after_step(steps)
        self._times = clock.finish()

    def log(self, losses: list[Tensor]) -> None:
        """Keep the losses of a step's micro-batches, unread: reading one would wait for the device."""
        self._losses.append(losses)

    def result(self) -> EpochResult:
        """Read what was kept, now that nothing is measured any more. All ranks call it."""
        # Micro-batches are of equal size, so a mean of means is exact.
        of_steps = [torch.stack(parts).mean() for parts in self._losses]
        mean = torch.stack([loss for parts in self._losses for loss in parts]).mean()
        if dist.is_initialized():
            dist.all_reduce(mean)
            mean /= dist.get_world_size()
        return EpochResult(
            times=self._times,
            losses=torch.stack(of_steps).tolist(),
            mean_loss=mean.item(),
            micro_batches=len(self._seen),
            indices=torch.cat([batch.indices for batch in self._seen]),
            unreadable=[name for batch in self._seen for name in batch.unreadable],
            checkpoint_seconds=self._clock.paused_seconds,
        )


def validate(
    model: nn.Module, classifier: TrainedModel, loader: DataLoader, device: torch.device
) -> tuple[Validation | None, list[str]]:
    """Every rank classifies its share and the counts are summed; None where no image can be decoded.

    Also returns the files of this rank that could not be.

    DataParallel spreads its batches over its devices. DDP's wrapper would only get in the way of ranks whose shares
    differ in size, so that there, as on one device, the bare classifier is asked.
    """
    started = perf_counter()
    classify = model if isinstance(model, nn.DataParallel) else classifier
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
    mean_loss = loss / samples
    validation = Validation(
        samples=int(samples),
        top1=first / samples,
        top5=five / samples,
        mean_loss=mean_loss if isfinite(mean_loss) else None,
        seconds=perf_counter() - started,
    )
    return validation, unreadable
