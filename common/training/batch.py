"""What travels from a data set through its loader to the training: tensors, alone or in tuples and dicts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

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
