"""Synthetic ImageNet-style data, and the loaders that lay a data set over the ranks."""

from __future__ import annotations

import os
import shutil

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from common.errors import UsageError
from common.formats import gib
from common.machine.before_torch import begin_worker
from common.machine.devices import LocalDevices
from common.records import RunConfig
from common.training import image_folder
from common.training.batch import Batch, tensors_of
from common.training.loader import ContinuousLoader
from common.training.samples import OwnSamples, PooledSamples, made_samples
from common.workload import Workload

SHARED_MEMORY = "/dev/shm"
MAX_FIRST = 4
PREFETCHED = 2
"""Batches that each worker keeps ready, torch's default."""


class SyntheticImageNet(PooledSamples):
    """Images that cost a copy and labels that can be learned, the same for the same (seed, index) everywhere.

    Each class of the pool is a coarse colour pattern, each image of it that pattern under noise: the loss falls within
    a few steps (an error in the training shows as a loss that does not).
    """

    POOL_IMAGES = 256
    POOL_CLASSES = 64

    def __init__(self, samples: int, image_size: int, num_classes: int, seed: int) -> None:
        random = torch.Generator().manual_seed(seed)
        classes = torch.randperm(num_classes, generator=random)[: self.POOL_CLASSES]
        patterns = torch.randn(len(classes), 3, 4, 4, generator=random)
        patterns = functional.interpolate(patterns, size=(image_size, image_size), mode="bilinear")
        which = torch.arange(min(self.POOL_IMAGES, samples)) % len(classes)
        images = torch.empty(len(which), 3, image_size, image_size, dtype=torch.uint8)
        for image, pattern in zip(images, patterns[which], strict=True):
            noise = torch.randn(pattern.shape, generator=random)
            image.copy_((128 + 40 * pattern + 20 * noise).clamp_(0, 255))
        super().__init__((images, classes[which]), samples)


def create_dataset(workload: Workload, config: RunConfig) -> Dataset:
    """What is trained on: the images of `--data-dir`, or synthetic ones."""
    if config.data_dir:
        return image_folder.TrainingImages(config)
    if config.data:
        return OwnSamples(config.data, config.samples_per_epoch)
    if workload.sample is None:
        return SyntheticImageNet(config.samples_per_epoch, config.image_size, config.num_classes, config.seed)
    return made_samples(workload.sample, config.samples_per_epoch, config)


def first_batch(workload: Workload, config: RunConfig) -> Batch:
    """A few samples, to try a model with, or to know the shapes of its inputs: at most as many as a device gets.

    Raises `UserCodeError` for samples that are none.
    """
    count = min(config.smallest_micro_batch_size, MAX_FIRST)
    few = config.model_copy(update={"samples_per_epoch": count, "data_dir": None})  # no image is decoded for it
    return create_dataset(workload, few).__getitems__([(0, index) for index in range(count)])


def create_loader(
    dataset: Dataset, sampler: DistributedSampler, config: RunConfig, devices: LocalDevices
) -> ContinuousLoader:
    """The micro-batches of one process: all of them, or this rank's share, as the sampler says.

    Every method draws from the same seeded permutation: rank r of n takes every n-th sample from the r-th on, so that
    the ranks' batches of a step together are the global batch of one process.
    """
    copy_to = devices.device if config.prefetch else None
    return ContinuousLoader(dataset, sampler, copy_to=copy_to, **_arguments(dataset, config, devices))


def validation_loader(config: RunConfig, devices: LocalDevices) -> DataLoader | None:
    """This rank's share of the validation images, each on one rank only; None where there are none."""
    dataset = image_folder.validation_images(config)
    if dataset is None:
        return None
    mine = [(0, index) for index in range(devices.rank, len(dataset), devices.world.processes)]
    return DataLoader(dataset, sampler=mine, **_arguments(dataset, config, devices))


def _arguments(dataset: Dataset, config: RunConfig, devices: LocalDevices) -> dict:
    """What the loaders of one process have in common."""
    batch_size = config.micro_batch_size // devices.world.processes
    workers = config.loader_workers // devices.world.processes
    on_gpu = devices.kind == "cuda"
    if workers:
        _check_shared_memory(batch_size * bytes_of_sample(dataset), workers)
    return {
        "batch_size": batch_size,
        "collate_fn": _as_it_is,
        "num_workers": workers,
        "persistent_workers": workers > 0,
        # A process that holds CUDA or NCCL must not fork: the child would inherit locks that nobody releases.
        "multiprocessing_context": "forkserver" if on_gpu and workers else None,
        "worker_init_fn": begin_worker,
        "pin_memory": on_gpu,  # copies to the GPU run beside the computation only from pinned memory
    }


def bytes_of_sample(dataset: Dataset) -> int:
    """Bytes of one sample's inputs and targets as they travel."""
    return sum(tensor.nbytes for tensor in tensors_of(dataset.__getitems__([(0, 0)])[:2]))


def _check_shared_memory(batch_bytes: int, workers: int) -> None:
    """Workers hand over their batches through /dev/shm. Where one does not fit, torch prints an error in the worker and
    waits for it without end. Raises `UsageError`."""
    needed = (PREFETCHED * workers + 1) * batch_bytes
    free = shutil.disk_usage(SHARED_MEMORY).free if os.path.isdir(SHARED_MEMORY) else needed
    if free < needed:
        raise UsageError(
            f"--workers {workers}: {SHARED_MEMORY} has {gib(free)} free, and the batches of the loader's workers "
            f"take {gib(needed)}: start the container with --shm-size=1g, or give --workers 0"
        )


def _as_it_is(batch: Batch) -> Batch:
    return batch


def expected_indices(config: RunConfig, epoch: int, first: int, count: int) -> Tensor:
    """(count,) int64: the samples that all ranks together should see in an epoch, from the `first` on.

    `DistributedSampler`'s own rule, written out: a permutation seeded by seed + epoch.
    """
    random = torch.Generator().manual_seed(config.seed + epoch)
    return torch.randperm(config.samples_per_epoch, generator=random)[first : first + count]


def checksum(indices: Tensor) -> int:
    """Sum of a 64-bit hash of every index, modulo 2**64: the same for the same samples in any order and any split.

    The hash is the finaliser of SplitMix64 (Steele, Lea, Flood 2014), so that a sample seen twice and another one
    missed cannot cancel out as they could in a plain sum.
    """
    x = indices.numpy().astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return int((x ^ (x >> np.uint64(31))).sum(dtype=np.uint64))
