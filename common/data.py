"""Synthetic ImageNet-style data, and the loader that lays it over the ranks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from common.devices import Place
from common.metrics import RunConfig


class Batch(NamedTuple):
    """Samples as they leave the loader."""

    images: Tensor
    """(batch, 3, height, width) uint8"""
    labels: Tensor
    """(batch,) int64"""
    indices: Tensor
    """(batch,) int64: which samples of the data set these are"""


class SyntheticImageNet(Dataset):
    """Images that cost a copy and labels that can be learned, the same for the same (seed, index) everywhere.

    All images come from a small pool that is made once: sample i is image i modulo the pool's size. Each class of the
    pool is a coarse colour pattern, each image of it that pattern under noise. So loading measures the loader, not a
    random generator, and the loss falls within a few steps (an error in the training shows as a loss that does not).
    """

    POOL_IMAGES = 256
    POOL_CLASSES = 64

    def __init__(self, samples: int, image_size: int, num_classes: int, seed: int) -> None:
        self.samples = samples
        random = torch.Generator().manual_seed(seed)
        classes = torch.randperm(num_classes, generator=random)[: self.POOL_CLASSES]
        patterns = torch.randn(len(classes), 3, 4, 4, generator=random)
        patterns = functional.interpolate(patterns, size=(image_size, image_size), mode="bilinear")
        which = torch.arange(self.POOL_IMAGES) % len(classes)
        self.labels = classes[which]
        self.images = torch.empty(self.POOL_IMAGES, 3, image_size, image_size, dtype=torch.uint8)
        for image, pattern in zip(self.images, patterns[which], strict=True):
            noise = torch.randn(pattern.shape, generator=random)
            image.copy_((128 + 40 * pattern + 20 * noise).clamp_(0, 255))

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, index: int) -> Batch:
        return Batch(*(part[0] for part in self.__getitems__([index])))

    def __getitems__(self, indices: list[int]) -> Batch:
        """A whole batch at once: one copy instead of one per sample and another to stack them."""
        wanted = torch.as_tensor(indices)
        pool = wanted % self.POOL_IMAGES
        return Batch(self.images[pool], self.labels[pool], wanted)


def create_loader(config: RunConfig, place: Place) -> DataLoader:
    """The batches of this rank: the global batch of one process, or this process's share of it.

    Every method draws from the same seeded permutation: rank r of n takes every n-th sample from the r-th on, so that
    the ranks' batches of a step together are the global batch of one process. `loader.sampler.set_epoch(e)` must be
    called before epoch e, or every epoch repeats the order of the first.
    """
    dataset = SyntheticImageNet(config.samples_per_epoch, config.image_size, config.num_classes, config.seed)
    processes = place.world.processes
    workers = config.loader_workers // processes
    on_gpu = place.kind == "cuda"
    return DataLoader(
        dataset,
        batch_size=config.global_batch_size // processes,
        sampler=DistributedSampler(dataset, num_replicas=processes, rank=place.rank, seed=config.seed, drop_last=True),
        drop_last=True,  # the last batch would be a smaller one, and a step of other length
        collate_fn=_as_it_is,
        num_workers=workers,
        persistent_workers=workers > 0,
        # A process that holds CUDA or NCCL must not fork: the child would inherit locks that nobody releases.
        multiprocessing_context="forkserver" if on_gpu and workers else None,
        pin_memory=on_gpu,  # copies to the GPU run beside the computation only from pinned memory
    )


def _as_it_is(batch: Batch) -> Batch:
    return batch


def expected_indices(config: RunConfig, epoch: int, steps: int) -> Tensor:
    """(steps · global batch,) int64: the samples that all ranks together should see in the first `steps` of an epoch.

    `DistributedSampler`'s own rule, written out: a permutation seeded by seed + epoch, from its beginning.
    """
    random = torch.Generator().manual_seed(config.seed + epoch)
    return torch.randperm(config.samples_per_epoch, generator=random)[: steps * config.global_batch_size]


def checksum(indices: Tensor) -> int:
    """Sum of a 64-bit hash of every index, modulo 2**64: the same for the same samples in any order and any split.

    The hash is the finaliser of SplitMix64 (Steele, Lea, Flood 2014), so that a sample seen twice and another one
    missed cannot cancel out as they could in a plain sum.
    """
    x = indices.numpy().astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return int((x ^ (x >> np.uint64(31))).sum(dtype=np.uint64))
