"""Samples of any structure: made on the fly from (seed, index), or those of a data set of the user's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from common.errors import UsageError
from common.training.batch import Batch, Nested, Sample, map_tensors, stacked, tensors_of

DTYPES = {"float32": torch.float32, "int64": torch.int64, "uint8": torch.uint8}


class MadeSamples(Dataset):
    """Samples of a workload, the same for the same (seed, index) everywhere.

    All come from a small pool that is made once: sample i is that of index i modulo the pool's size. So loading
    measures the loader, and not what makes samples.
    """

    POOL_SAMPLES, POOL_BYTES = 256, 2**28

    def __init__(self, make: Callable[[int, int], Any], samples: int, seed: int) -> None:
        self.samples = samples
        first = inputs_and_targets(make(seed, 0))
        size = sum(tensor.nbytes for tensor in tensors_of(first))
        self.pool_size = max(1, min(self.POOL_SAMPLES, samples, self.POOL_BYTES // max(1, size)))
        self.pool = stacked([first, *(inputs_and_targets(make(seed, index)) for index in range(1, self.pool_size))])

    def __len__(self) -> int:
        return self.samples

    def __getitems__(self, samples: list[Sample]) -> Batch:
        """A whole batch at once: one copy instead of one per sample and another to stack them."""
        wanted = torch.tensor([index for _, index in samples])
        inputs, targets = map_tensors(lambda tensor: tensor[wanted % self.pool_size], self.pool)
        return Batch(inputs, targets, wanted)


class OwnSamples(Dataset):
    """Samples of a map-style data set, as batches."""

    def __init__(self, dataset: Dataset, samples: int) -> None:
        self.dataset, self.samples = dataset, samples

    def __len__(self) -> int:
        return self.samples

    def __getitems__(self, samples: list[Sample]) -> Batch:
        indices = [index for _, index in samples]
        inputs, targets = stacked([inputs_and_targets(self.dataset[index]) for index in indices])
        return Batch(inputs, targets, torch.tensor(indices))


def inputs_and_targets(sample: Any) -> tuple[Nested, Nested]:
    """A sample as a pair: a pair is one already; anything else is inputs alone. Raises TypeError for other values than
    tensors, arrays, numbers, and tuples, lists and dicts of such."""
    if isinstance(sample, tuple | list) and len(sample) == 2:
        return _as_tensors(sample[0]), _as_tensors(sample[1])
    if isinstance(sample, dict | Tensor | np.ndarray):
        return _as_tensors(sample), None
    raise TypeError(
        f"a sample is a pair (inputs, targets), or inputs alone as a tensor or a dict; this is {kind_of(sample)}"
    )


def _as_tensors(value: Any) -> Nested:
    if value is None or isinstance(value, Tensor):
        return value
    if isinstance(value, np.ndarray | np.generic | int | float):
        return torch.as_tensor(value)
    if isinstance(value, dict):
        return {name: _as_tensors(part) for name, part in value.items()}
    if isinstance(value, tuple | list):
        return tuple(map(_as_tensors, value))
    raise TypeError(f"a sample holds tensors, arrays and numbers, and this one holds {kind_of(value)}")


def kind_of(value: Any) -> str:
    """What a value is, for a message: `a tuple of 3`, `the class Net and no object of it`."""
    if isinstance(value, type):
        return f"the class {value.__name__} and no object of it"
    if value is None:
        return "nothing"
    kind = type(value).__name__
    return f"a {kind} of {len(value)}" if isinstance(value, tuple | list) else f"a {kind}"


def declared_sample(text: str) -> Callable[[int, int], Tensor]:
    """`3x64x64 float32`: normal numbers; `128 int64 1000`: whole ones from 0 to below 1000. Raises `UsageError`."""
    words = text.split()
    try:
        shape = tuple(int(size) for size in words[0].split("x"))
        dtype = DTYPES[words[1] if len(words) > 1 else "float32"]
        below = int(words[2]) if len(words) > 2 else 256
        if min(shape) < 1 or below < 1 or len(words) > 3:
            raise ValueError
    except (ValueError, KeyError, IndexError):
        raise UsageError(
            f"--sample {text!r}: give a shape, and a type: '3x64x64 float32', or '128 int64 1000' for whole numbers "
            f"below 1000 ({', '.join(DTYPES)})"
        ) from None

    def sample(seed: int, index: int) -> Tensor:
        random = generator(seed, index)
        if dtype == torch.float32:
            return torch.randn(shape, generator=random)
        return torch.randint(below, shape, dtype=dtype, generator=random)

    return sample


def generator(seed: int, index: int) -> torch.Generator:
    """Random numbers of one sample."""
    return torch.Generator().manual_seed(hash((seed, index)) % 2**63)
