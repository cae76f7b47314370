"""What travels from a data set through its loader to the training: tensors, alone or in tuples and dicts; which samples
they are of, and in which order."""

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DistributedSampler

from common.records import RunConfig

Sample = tuple[int, int]
"""(epoch, index): knowing both, augmentation can change from epoch to epoch without a word to the loader's workers."""
Nested = Any
"""A tensor, or a tuple, list, dict or dataclass of such; None, too."""


class Batch(NamedTuple):
    """Samples as they leave the loader. The first dimension of every tensor is that of the samples."""

    inputs: Nested
    """What the model is called with; of images: (batch, 3, height, width) uint8."""
    targets: Nested
    """What the loss compares its outputs with; of images: (batch,) int64. None where the model computes the loss."""
    indices: Tensor
    """(batch,) int64: which samples of the data set these are"""
    unreadable: tuple[str, ...] = ()
    """Files that could not be decoded, each with its reason"""

    def to(self, device: torch.device) -> tuple[Nested, Nested]:
        """Inputs and targets on `device`. The host does not wait for the copy where they lie in pinned memory."""
        return map_tensors(lambda tensor: tensor.to(device, non_blocking=True), (self.inputs, self.targets))


class NamedOutputs(dict):
    """The fields of a dataclass, by name: torch's DataParallel gathers dicts, and no dataclasses."""

    def __getattr__(self, name: str) -> Nested:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


def map_tensors(function: Callable[[Tensor], Any], value: Nested) -> Nested:
    """The same structure with `function` of every tensor; a dataclass that is no dict becomes `NamedOutputs`."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, dict):
        return type(value)((name, map_tensors(function, part)) for name, part in value.items())
    if isinstance(value, tuple | list):
        parts = [map_tensors(function, part) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    if is_dataclass(value) and not isinstance(value, type):
        named = ((field.name, map_tensors(function, getattr(value, field.name))) for field in fields(value))
        return NamedOutputs(named)
    return value


def tensors_of(value: Nested) -> list[Tensor]:
    """All tensors of a structure, in its order."""
    tensors: list[Tensor] = []
    map_tensors(tensors.append, value)
    return tensors


def filled(structure: Nested, tensors: Iterable[Tensor]) -> Nested:
    """The structure with other tensors, in its order."""
    others: Iterator[Tensor] = iter(tensors)
    return map_tensors(lambda _: next(others), structure)


def chunks(value: Nested, parts: int) -> list[Nested]:
    """A structure of batches cut into at most so many parts, as `Tensor.chunk` cuts: equal but for the last."""
    rows = zip(*(tensor.chunk(parts) for tensor in tensors_of(value)), strict=True)
    return [filled(value, row) for row in rows]


def stacked(values: Sequence[Nested]) -> Nested:
    """Samples of one structure as a batch. Raises what `torch.stack` does where their shapes differ."""
    rows = zip(*map(tensors_of, values), strict=True)
    return filled(values[0], [torch.stack(row) for row in rows])


def batches_of_epochs(sampler: DistributedSampler, batch_size: int, epochs: Iterable[int]) -> Iterator[list[Sample]]:
    """This rank's samples of one epoch after another, in batches; a last, smaller one of an epoch is dropped."""
    for epoch in epochs:
        own = copy.copy(sampler)  # whichever epoch the sampler itself is set to
        own.set_epoch(epoch)
        samples = ((epoch, index) for index in own)
        for _ in range(len(sampler) // batch_size):
            yield list(islice(samples, batch_size))


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
