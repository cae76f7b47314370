"""Samples that the user's own code makes: errors name its lines."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch.utils.data import Dataset, IterableDataset

from common.command_line.model_names import name_in_file
from common.command_line.options import TrainingOptions
from common.command_line.resolve import OwnData
from common.errors import UsageError
from common.records import RunConfig
from common.training import image_folder
from common.training.batch import tensors_of
from common.training.workloads.by_file import path_of_model
from common.training.workloads.samples import MadeSamples, OwnSamples, inputs_and_targets
from common.training.workloads.user_file import UserCodeError, errors_of, load_function, place_of, source_of_code


def find_data(options: TrainingOptions) -> OwnData | None:
    """What `--data-dir` or `--data` holds; None where samples are made on the fly. Raises `UsageError`."""
    if options.data_dir:
        return image_folder.find(options.data_dir)
    if options.data is None:
        return None
    path = name_in_file(options.data, "dataset", "--data").path
    samples = len(_own_dataset(options.data))
    return OwnData(f"{options.data} {source_of_code(path)}", samples, 0)


def own_samples(data: str, samples: int) -> OwnSamples:
    """The data set that `--data` names, as batches."""
    return OwnSamples(_own_dataset(data), samples)


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
