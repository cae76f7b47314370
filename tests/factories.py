"""Small objects for tests."""

import torch
from torch import nn

from common.machine.devices import LocalDevices, _place
from common.records import RunConfig
from common.training.by_library import image_workload
from common.training.models import TrainedModel, create_model, create_workload


def make_config(**changes) -> RunConfig:
    values = {
        "model": "resnet18",
        "num_classes": 10,
        "image_size": 32,
        "global_batch_size": 8,
        "per_device_batch_size": 8,
        "epochs": 1,
        "samples_per_epoch": 64,
        "warmup_steps": 0,
        "precision": "ieee-fp32",
        "learning_rate": 0.1,
        "momentum": 0.9,
        "weight_decay": 0.0,
        "seed": 0,
        "loader_workers": 0,
    }
    return RunConfig(**values | changes)


def make_place(devices: int = 1) -> LocalDevices:
    return _place("cpu", tuple(range(devices)))


def small_classifier(config: RunConfig | None = None, *layers: nn.Module) -> TrainedModel:
    """A model without BatchNorm, so that the gradient of a batch is the mean over its parts, however it is split."""
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    backbone.append(nn.Linear(4, 10))
    return make_classifier(backbone, config or make_config())


def make_classifier(backbone: nn.Module, config: RunConfig) -> TrainedModel:
    return TrainedModel(image_workload(backbone, config), config)


def make_model(config: RunConfig, devices: LocalDevices) -> TrainedModel:
    """The model that a script would train."""
    return create_model(create_workload(config), config, devices)
