"""Samples of any structure: made on the fly from (seed, index), or those of a data set of the user's own."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from common.command_line.model_names import name_in_file
from common.command_line.options import TrainingOptions
from common.command_line.resolve import OwnData
from common.errors import UsageError
from common.records import RunConfig
from common.training import image_folder
from common.training.batch import Batch, Nested, Sample, map_tensors, stacked, tensors_of
from common.training.user_file import UserCodeError, errors_of, load_function, path_of_model, place_of, source_of_code

DTYPES = {"float32": torch.float32, "int64": torch.int64, "uint8": torch.uint8}


class PooledSamples(Dataset):
    """So many samples out of a small pool that is made once: sample i is that of index i modulo the pool's size.

    So loading measures the loader, and not what makes samples.
    """

    def __init__(self, pool: tuple[Nested, Nested], samples: int) -> None:
        """`pool`: inputs and targets."""
        self.pool, self.samples = pool, samples
        self.pool_size = len(tensors_of(pool)[0])

    def __len__(self) -> int:
        return self.samples

    def __getitems__(self, samples: list[Sample]) -> Batch:
        """A whole batch at once: one copy instead of one per sample and another to stack them."""
        wanted = torch.tensor([index for _, index in samples])
        inputs, targets = map_tensors(lambda tensor: tensor[wanted % self.pool_size], self.pool)
        return Batch(inputs, targets, wanted)


class MadeSamples(PooledSamples):
    """Samples of a workload, the same for the same (seed, index) everywhere."""

    POOL_SAMPLES, POOL_BYTES = 256, 2**28

    def __init__(self, make: Callable[[int, int], Any], samples: int, seed: int) -> None:
        first = inputs_and_targets(make(seed, 0))
        bytes_of_one = max(1, sum(tensor.nbytes for tensor in tensors_of(first)))
        size = max(1, min(self.POOL_SAMPLES, samples, self.POOL_BYTES // bytes_of_one))
        others = (inputs_and_targets(make(seed, index)) for index in range(1, size))
        super().__init__(stacked([first, *others]), samples)


class OwnSamples(Dataset):
    """Samples of a map-style data set, as batches."""

    def __init__(self, data: str, samples: int) -> None:
        """`data`: as `--data` names it."""
        self.dataset, self.samples = _own_dataset(data), samples

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


def find_data(options: TrainingOptions) -> OwnData | None:
    """What `--data-dir` or `--data` holds; None where samples are made on the fly. Raises `UsageError`."""
    if options.data_dir:
        return image_folder.find(options.data_dir)
    if options.data is None:
        return None
    path = name_in_file(options.data, "dataset", "--data").path
    samples = len(_own_dataset(options.data))
    return OwnData(f"{options.data} {source_of_code(path)}", samples, 0)


@cache
def _own_dataset(data: str) -> Dataset:
    """Raises `UsageError` for what is no map-style data set."""
    name = name_in_file(data, "dataset", "--data")
    make = load_function(name, "--data")
    with errors_of(name.path):
        dataset = make()
    where = place_of(make, name.path)
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__getitem__"):
        raise UserCodeError(
            f"{where}: an iterable data set has no sample number i, and all methods must train on the same samples: "
            "return a map-style one, with __getitem__ and __len__"
        )
    if not hasattr(dataset, "__len__"):
        raise UserCodeError(f"{where}: the data set has no __len__: say how many samples there are")
    with errors_of(name.path, at=where):
        inputs_and_targets(dataset[0])
    return dataset


def made_samples(make: Callable[[int, int], Any], samples: int, config: RunConfig) -> MadeSamples:
    """Samples of a workload, made on the fly. Raises `UsageError` for those that do not make a batch, or that are not
    the same each time."""
    path = path_of_model(config)
    if path is None:
        return MadeSamples(make, samples, config.seed)
    where = place_of(make, path)
    with errors_of(path, at=where):
        one, again = (tensors_of(inputs_and_targets(make(config.seed, 0))) for _ in range(2))
        if not one:
            raise UsageError(f"{where}: a sample without a tensor: return a pair (inputs, targets)")
        if not all(map(torch.equal, one, again)):
            raise UserCodeError(
                f"{where}: the sample of one seed and index is another one each time: draw it from "
                "torch.Generator().manual_seed(hash((seed, index)) % 2**63)"
            )
        return MadeSamples(make, samples, config.seed)
