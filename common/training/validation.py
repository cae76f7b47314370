"""One pass over the validation images: top-1 and top-5, each image counted once."""

from __future__ import annotations

from math import isfinite
from time import perf_counter

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from common.machine.ranks import barrier
from common.records import Validation
from common.training.models import TrainedModel


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
    found = Validation(
        samples=int(samples),
        top1=first / samples,
        top5=five / samples,
        mean_loss=mean_loss if isfinite(mean_loss) else None,
        seconds=perf_counter() - started,
    )
    return found, unreadable
