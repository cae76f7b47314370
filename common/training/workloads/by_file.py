"""`--model my_model.py:build`: a model of the user's own, as a workload."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from common.command_line.model_names import name_in_file
from common.records import RunConfig
from common.training.batch import tensors_of
from common.training.workloads.images import NormalisedImages, image_workload
from common.training.workloads.samples import declared_sample, generator, kind_of
from common.training.workloads.user_file import (
    MOVES_ITSELF,
    UserCodeError,
    errors_of,
    load_function,
    place_of,
    source_of_code,
)
from common.workload import Workload

DECLARATION = "SAMPLE"
"""The name in the file that says what `--sample` says."""


def workload_of_file(config: RunConfig) -> Workload:
    """What the function returns: a workload; or a module, from images, or from samples of a declared shape, to logits.

    Raises `UserCodeError` for what is none of them.
    """
    name = name_in_file(config.model, "build", "--model")
    build = load_function(name, "--model")
    with errors_of(name.path):
        built = build()
    where = place_of(build, name.path)
    if isinstance(built, nn.Module):
        built = Workload(model=built)
        config.sample = config.sample or getattr(build, "__globals__", {}).get(DECLARATION, "")
    elif not isinstance(built, Workload):
        raise UserCodeError(
            f"{where}: {name.function}() returns {kind_of(built)}: return an nn.Module, or a Workload "
            "(from common.workload import Workload)"
        )
    _check_model(built.model, where)
    config.model_source = source_of_code(name.path)
    if built.sample is not None:
        return built
    with errors_of(name.path):
        return _of_shape(built, config) if config.sample else _of_images(built, config)


def path_of_model(config: RunConfig) -> Path | None:
    """The file of `--model`; None where a library has it."""
    return name_in_file(config.model, "build", "--model").path if config.model_source.startswith("sha256") else None


def _check_model(model: Any, where: str) -> None:
    if not isinstance(model, nn.Module):
        raise UserCodeError(f"{where}: the workload's model is {kind_of(model)}: give an nn.Module")
    tensors = [*model.parameters(), *model.buffers()]
    if elsewhere := {tensor.device.type for tensor in tensors} - {"cpu"}:
        raise UserCodeError(f"{where}: the model is on {elsewhere.pop()} already: {MOVES_ITSELF}")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise UserCodeError(f"{where}: no parameter of the model requires a gradient: there is nothing to train")


def _of_images(built: Workload, config: RunConfig) -> Workload:
    """A model from images to logits."""
    images = image_workload(built.model, config)
    example = torch.zeros(2, 3, config.image_size, config.image_size, dtype=torch.uint8)
    config.num_classes = config.num_classes or _classes(built.model, NormalisedImages(config)(example))
    images.loss, images.optimizer = built.loss or images.loss, built.optimizer
    return images


def _of_shape(built: Workload, config: RunConfig) -> Workload:
    """A model from inputs of a declared shape to logits: labels are drawn among as many as it has classes."""
    inputs = declared_sample(config.sample)
    config.num_classes = classes = config.num_classes or _classes(built.model, torch.stack([inputs(0, 0)] * 2))

    def sample(seed: int, index: int) -> tuple[Tensor, Tensor]:
        return inputs(seed, index), torch.randint(classes, (), generator=generator(seed, index))

    built.sample = sample
    return built


def _classes(model: nn.Module, inputs: Tensor) -> int:
    """How many outputs a model has for each sample."""
    was_training = model.training
    try:
        with torch.no_grad():
            return tensors_of(model.eval()(inputs))[0].shape[-1]
    finally:
        model.train(was_training)
