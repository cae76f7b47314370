"""The loader: batches of one epoch after another, from workers that run on where an epoch ends.

A plain `DataLoader` starts anew with each epoch: its workers have nothing to do when an epoch ends, and the first step
of the next one waits until a batch is loaded. In short epochs that wait is what one would measure.
"""

import os
import shutil
from collections import deque
from collections.abc import Iterator
from itertools import chain, count, islice, repeat
from time import perf_counter

import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from common.errors import UsageError
from common.formats import gib
from common.machine.before_torch import begin_worker
from common.machine.devices import LocalDevices
from common.records import RunConfig
from common.training import image_folder
from common.training.batch import Batch, Sample, batches_of_epochs, tensors_of
from common.training.data import bytes_of_sample

SHARED_MEMORY = "/dev/shm"
PREFETCHED = 2
"""Batches that each worker keeps ready, torch's default."""


def create_loader(
    dataset: Dataset, sampler: DistributedSampler, config: RunConfig, devices: LocalDevices
) -> "ContinuousLoader":
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


class ContinuousLoader:
    """The batches of the sampler's epoch, each time it is iterated over; those of the next epoch are loaded meanwhile.

    It takes for granted that epoch e + 1 follows epoch e. Where the sampler has been set to another one, or batches are
    left out, it starts anew, as a plain `DataLoader` does each time.
    """

    def __init__(
        self, dataset: Dataset, sampler: DistributedSampler, batch_size: int, copy_to: torch.device | None, **more
    ) -> None:
        """`copy_to`: a GPU to which batches are copied ahead (`--prefetch`). `more`: arguments of `DataLoader`."""
        self.dataset, self.sampler, self._batch_size, self._copy_to = dataset, sampler, batch_size, copy_to
        self._plan = _Plan()
        self._loader = DataLoader(dataset, batch_sampler=self._plan, **more)
        self._batches: Iterator[Batch] = iter(())
        self._start, self._number = (-1, 0), -1
        """Epoch and batch that it has begun with, if it has; the next batch, counted from the first of epoch 0 on."""
        self._ready: list[Batch] = []
        """The next batch, if somebody has waited for it."""

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        return len(self.sampler) // self._batch_size

    def __iter__(self) -> Iterator[Batch]:
        epoch = self.sampler.epoch
        first = self._start[1] if epoch == self._start[0] else 0
        if self._number != epoch * len(self) + first:
            self.begin(epoch, first)
        for _ in range(first, len(self)):
            yield self.next_batch()

    def next_batch(self) -> Batch:
        """The next batch, whichever epoch it belongs to: there is no last one."""
        self.wait()
        self._number += 1
        return self._ready.pop()

    def begin(self, epoch: int, batch: int = 0, uncounted: int = 0) -> None:
        """Start anew, with this batch of this epoch: a checkpoint has seen those before it. First come `uncounted`
        batches that belong to no epoch."""
        self._start, self._number = (epoch, batch), epoch * len(self) + batch - uncounted
        any_batches = batches_of_epochs(self.sampler, self._batch_size, repeat(0))
        from_epoch_on = batches_of_epochs(self.sampler, self._batch_size, count(epoch))
        self._plan.batches = chain(islice(any_batches, uncounted), islice(from_epoch_on, batch, None))
        self._ready.clear()
        batches = iter(self._loader)
        self._batches = copied_ahead(batches, self._copy_to) if self._copy_to else batches

    def wait(self) -> None:
        """Return when the next batch is there."""
        if self._start[0] < 0:
            self.begin(self.sampler.epoch)
        if not self._ready:
            self._ready.append(next(self._batches))

    def start_seconds(self) -> float:
        """What a loader that starts anew takes until its first batch is there, its workers idle before, as they are
        where an epoch of a plain `DataLoader` has ended."""
        self._plan.batches = iter(())
        deque(self._batches, maxlen=0)  # what was loaded ahead
        started = perf_counter()
        self.begin(self.sampler.epoch + 1)
        self.wait()
        return perf_counter() - started


class _Plan:
    """For `DataLoader`: the samples of one batch after another.

    It knows nothing of the loader. Whatever holds itself in a circle is collected at any time, in a worker, too, which
    would then wait for processes that are none of its own.
    """

    batches: Iterator[list[Sample]] = iter(())

    def __iter__(self) -> Iterator[list[Sample]]:
        while samples := next(self.batches, None):
            yield samples


def copied_ahead(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    """The batches on `device`, a GPU, copied on a stream of its own.

    A copy that is launched among the kernels of a step waits for those before it. On another stream it runs beside
    them, as far as the host, which launches it, is ahead of the GPU. The kernels of the next step wait for it alone.
    """
    copies = torch.cuda.Stream(device)
    for batch in batches:
        with torch.cuda.stream(copies):
            inputs, targets = batch.to(device)
        steps = torch.cuda.current_stream(device)
        steps.wait_stream(copies)
        for tensor in tensors_of((inputs, targets)):
            tensor.record_stream(steps)  # else their memory is given away while the step still reads it
        yield batch._replace(inputs=inputs, targets=targets)
