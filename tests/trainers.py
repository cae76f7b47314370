"""Trainings without a script around them, for tests of the optimizer step, which is that of the scripts."""

from importlib import import_module

import torch
from factories import small_classifier
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler

from common.machine.devices import LocalDevices
from common.records import DdpOptions, RunConfig
from common.training.batch import Batch
from common.training.by_library import image_workload
from common.training.data import create_dataset
from common.training.distributed import ddp_kwargs
from common.training.loader import create_loader
from common.training.models import TrainedModel
from common.training.training import Training

train_step = import_module("02_baseline_single_gpu").train_step


def make_loader(config: RunConfig, devices: LocalDevices) -> DataLoader:
    """This rank's loader, as the scripts make it."""
    dataset = create_dataset(image_workload(nn.Identity(), config), config)
    processes, rank = devices.world.processes, devices.rank
    sampler = DistributedSampler(dataset, num_replicas=processes, rank=rank, seed=config.seed, drop_last=True)
    return create_loader(dataset, sampler, config, devices)


def in_ddp(classifier: nn.Module, options: DdpOptions, devices: LocalDevices) -> DistributedDataParallel:
    """DDP, with the arguments that step 04 gives it for `options`."""
    return DistributedDataParallel(classifier, device_ids=devices.device_ids, **ddp_kwargs(options))


def make_training(config: RunConfig, devices: LocalDevices, wrap=lambda classifier: classifier) -> Training:
    """The training of a small model without BatchNorm, so that a gradient does not depend on how a batch is split."""
    model = wrap(small_classifier(config))
    optimizer = torch.optim.SGD(model.parameters(), lr=config.learning_rate, momentum=config.momentum)
    return Training(train_step, model, optimizer, make_loader(config, devices), config)


def micro_batches(loader: DataLoader, parts: int) -> tuple[Batch, ...]:
    """The first batch of a loader, cut into `parts`."""
    batch = next(iter(loader))
    return tuple(Batch(*cut) for cut in zip(*(tensor.chunk(parts) for tensor in batch[:3]), strict=True))


def weights_after(training: Training, batches: tuple[Batch, ...]) -> torch.Tensor:
    """All weights after one optimizer step, in one row."""
    training.step(batches)
    return nn.utils.parameters_to_vector(weights_of(training.module)).detach()


def weights_of(classifier: TrainedModel) -> list[nn.Parameter]:
    return list(classifier.parameters())
