"""The loader: batches of one epoch after another, from workers that run on where an epoch ends.

A plain `DataLoader` starts anew with each epoch: its workers have nothing to do when an epoch ends, and the first step
of the next one waits until a batch is loaded. In short epochs that wait is what one would measure.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain, count, islice, repeat
from time import perf_counter

import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from common.training.batch import Batch, Sample, tensors_of


class EpochSampler(DistributedSampler):
    """The order of all samples, another one in each epoch, for one process: the one that step 04's ranks share."""

    def __init__(self, dataset: Dataset, seed: int) -> None:
        super().__init__(dataset, num_replicas=1, rank=0, seed=seed, drop_last=True)


class ContinuousLoader:
    """The batches of the sampler's epoch, each time it is iterated over; those of the next epoch are loaded meanwhile.

    It takes for granted that epoch e + 1 follows epoch e. Where the sampler has been set to another one, or batches are
    left out, it starts anew, as a plain `DataLoader` does each time.
    """

    def __init__(
        self, dataset: Dataset, sampler: DistributedSampler, batch_size: int, copy_to: torch.device | None, **more
    ) -> None:
        """`copy_to`: a GPU to which batches are copied ahead (`--prefetch`). `more`: arguments of `DataLoader`."""
        self.dataset, self.sampler, self._copy_to = dataset, sampler, copy_to
        self.first_batch = 0
        """Of the epoch: those before it are left out, because a checkpoint has seen them."""
        self._samples_of = partial(batches_of_epochs, sampler, batch_size)
        self._plan = _Plan(len(sampler) // batch_size)
        self._loader = DataLoader(dataset, batch_sampler=self._plan, **more)
        self._batches: Iterator[Batch] = iter(())
        self._ready: list[Batch] = []
        """The next batch, if somebody has waited for it."""
        self._first: tuple[int, int] | None = None
        self._taken = self._uncounted = 0

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        return len(self._plan)

    def __iter__(self) -> Iterator[Batch]:
        wanted = (self.sampler.epoch, self.first_batch)
        if self._position() != wanted:
            self.begin(*wanted)
        for _ in range(wanted[1], len(self)):
            yield self.next_batch()

    def next_batch(self) -> Batch:
        """The next batch, whichever epoch it belongs to: there is no last one."""
        self.wait()
        self._taken += 1
        return self._ready.pop()

    def begin(self, epoch: int, batch: int = 0, uncounted: int = 0) -> None:
        """Start anew, with this batch of this epoch; before it come `uncounted` batches that belong to no epoch."""
        self._first, self._taken, self._uncounted = (epoch, batch), 0, uncounted
        of_none, of_epochs = self._samples_of(repeat(0)), self._samples_of(count(epoch))
        self._plan.batches = chain(islice(of_none, uncounted), islice(of_epochs, batch, None))
        self._ready.clear()
        batches = iter(self._loader)
        self._batches = copied_ahead(batches, self._copy_to) if self._copy_to else batches

    def wait(self) -> None:
        """Return when the next batch is there."""
        if self._first is None:
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

    def _position(self) -> tuple[int, int] | None:
        """Epoch and batch that come next; None before the first, and among the uncounted ones."""
        taken = self._taken - self._uncounted
        if self._first is None or taken < 0:
            return None
        epochs, batch = divmod(self._first[1] + taken, len(self))
        return self._first[0] + epochs, batch


class _Plan:
    """For `DataLoader`: the samples of one batch after another.

    It knows nothing of the loader. Whatever holds itself in a circle is collected at any time, in a worker, too, which
    would then wait for processes that are none of its own.
    """

    def __init__(self, batches_per_epoch: int) -> None:
        self._batches_per_epoch = batches_per_epoch
        self.batches: Iterator[list[Sample]] = iter(())

    def __len__(self) -> int:
        return self._batches_per_epoch

    def __iter__(self) -> Iterator[list[Sample]]:
        while samples := next(self.batches, None):
            yield samples


def batches_of_epochs(sampler: DistributedSampler, batch_size: int, epochs: Iterable[int]) -> Iterator[list[Sample]]:
    """This rank's samples of one epoch after another, in batches; a last, smaller one of an epoch is dropped."""
    for epoch in epochs:
        own = copy.copy(sampler)  # whichever epoch the sampler itself is set to
        own.set_epoch(epoch)
        samples = ((epoch, index) for index in own)
        for _ in range(len(sampler) // batch_size):
            yield list(islice(samples, batch_size))


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
