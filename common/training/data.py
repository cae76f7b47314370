"""Data sets: synthetic images, samples of any structure made on the fly from (seed, index), and the user's own."""

from collections.abc import Callable
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset, IterableDataset

from common.command_line.options import TrainingOptions
from common.command_line.resolve import OwnData
from common.errors import UsageError
from common.records import RunConfig
from common.training import image_folder
from common.training.batch import Batch, Nested, Sample, map_tensors, stacked, tensors_of
from common.training.user_file import UserCodeError, UserFile, file_of_model, kind_of
from common.workload import Workload

POOL_SIZE, POOL_BYTES = 256, 2**28
"""At most so many samples are made; the data set repeats them."""


def create_dataset(workload: Workload, config: RunConfig) -> Dataset:
    """What is trained on: the images of `--data-dir`, or synthetic ones."""
    if config.data_dir:
        return image_folder.training_images(config)
    if config.data:
        return OwnSamples(config.data, config.samples_per_epoch)
    if workload.sample is None:
        return SyntheticImageNet(config.samples_per_epoch, config.image_size, config.num_classes, config.seed)
    return made_samples(workload.sample, config.samples_per_epoch, config)


def first_batch(workload: Workload, config: RunConfig) -> Batch:
    """A few samples, to try a model with, or to know the shapes of its inputs: at most as many as a device gets.

    Raises `UserCodeError` for samples that are none.
    """
    count = min(config.smallest_micro_batch_size, 4)
    few = config.model_copy(update={"samples_per_epoch": count, "data_dir": None})  # no image is decoded for it
    return create_dataset(workload, few).__getitems__([(0, index) for index in range(count)])


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


class SyntheticImageNet(PooledSamples):
    """Images that cost a copy and labels that can be learned, the same for the same (seed, index) everywhere.

    Each class of the pool is a coarse colour pattern, each image of it that pattern under noise: the loss falls within
    a few steps (an error in the training shows as a loss that does not).
    """

    POOL_CLASSES = 64

    def __init__(self, samples: int, image_size: int, num_classes: int, seed: int) -> None:
        random = torch.Generator().manual_seed(seed)
        classes = torch.randperm(num_classes, generator=random)[: self.POOL_CLASSES]
        patterns = torch.randn(len(classes), 3, 4, 4, generator=random)
        patterns = functional.interpolate(patterns, size=(image_size, image_size), mode="bilinear")
        which = torch.arange(min(POOL_SIZE, samples)) % len(classes)
        images = torch.empty(len(which), 3, image_size, image_size, dtype=torch.uint8)
        for image, pattern in zip(images, patterns[which], strict=True):
            noise = torch.randn(pattern.shape, generator=random)
            image.copy_((128 + 40 * pattern + 20 * noise).clamp_(0, 255))
        super().__init__((images, classes[which]), samples)


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


def bytes_of_sample(dataset: Dataset) -> int:
    """Bytes of one sample's inputs and targets as they travel."""
    return sum(tensor.nbytes for tensor in tensors_of(dataset.__getitems__([(0, 0)])[:2]))


def inputs_and_targets(sample: Any) -> tuple[Nested, Nested]:
    """A sample as a pair: a pair is one already; anything else is inputs alone. Raises TypeError for other values than
    tensors, arrays, numbers, and tuples, lists and dicts of such."""
    if isinstance(sample, tuple | list) and len(sample) == 2:
        return _as_tensors(sample[0]), _as_tensors(sample[1])
    if isinstance(sample, dict | Tensor | np.ndarray):
        return _as_tensors(sample), None
    what = kind_of(sample)
    raise TypeError(f"a sample is a pair (inputs, targets), or inputs alone as a tensor or a dict; this is {what}")


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


def generator(seed: int, index: int) -> torch.Generator:
    """Random numbers of one sample."""
    return torch.Generator().manual_seed(hash((seed, index)) % 2**63)


def find_data(options: TrainingOptions) -> OwnData | None:
    """What `--data-dir` or `--data` holds; None where samples are made on the fly. Raises `UsageError`."""
    folder, data = options.settings.get("data_dir"), options.settings.get("data")
    if folder:
        classes, images, _ = image_folder.image_tree(Path(folder))
        name = Path(folder).resolve().name
        return OwnData(f"{name}: {len(images)} images, {len(classes)} classes", len(images), len(classes))
    if data is None:
        return None
    samples = len(_own_dataset(data))  # before the hash, which includes what the file has imported
    return OwnData(f"{data} {UserFile(data, 'dataset', '--data').source()}", samples, 0)


@cache
def _own_dataset(data: str) -> Dataset:
    """Raises `UsageError` for what is no map-style data set."""
    file = UserFile(data, "dataset", "--data")
    dataset, make = file.call()
    where = file.place_of(make)
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__getitem__"):
        raise UserCodeError(
            f"{where}: an iterable data set has no sample number i, and all methods must train on the same samples: "
            "return a map-style one, with __getitem__ and __len__"
        )
    if not hasattr(dataset, "__len__"):
        raise UserCodeError(f"{where}: the data set has no __len__: say how many samples there are")
    with file.errors(at=where):
        inputs_and_targets(dataset[0])
    return dataset


def made_samples(make: Callable[[int, int], Any], samples: int, config: RunConfig) -> PooledSamples:
    """Samples of a workload, made on the fly, the same for the same (seed, index) everywhere.

    Raises `UsageError` for those that do not make a batch, or that are not the same each time.
    """
    file = file_of_model(config)
    where = file.place_of(make) if file else ""
    with file.errors(at=where) if file else nullcontext():
        first, again = (inputs_and_targets(make(config.seed, 0)) for _ in range(2))
        tensors = tensors_of(first)
        if not tensors:
            raise UsageError(f"{where}: a sample without a tensor: return a pair (inputs, targets)")
        if not all(map(torch.equal, tensors, tensors_of(again))):
            raise UserCodeError(
                f"{where}: the sample of one seed and index is another one each time: draw it from "
                "torch.Generator().manual_seed(hash((seed, index)) % 2**63)"
            )
        bytes_of_one = max(1, sum(tensor.nbytes for tensor in tensors))
        size = max(1, min(POOL_SIZE, samples, POOL_BYTES // bytes_of_one))
        others = (inputs_and_targets(make(config.seed, index)) for index in range(1, size))
        return PooledSamples(stacked([first, *others]), samples)
