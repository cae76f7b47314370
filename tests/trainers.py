"""Trainers without a script around them, for tests of the optimizer step."""

from types import SimpleNamespace

import torch
from factories import small_classifier
from torch import nn

from common.machine.devices import Place
from common.records import RunConfig
from common.training.batch import Batch
from common.training.data import create_loader
from common.training.models import Classifier
from common.training.trainer import Trainer


def make_trainer(config: RunConfig, place: Place, wrap=lambda classifier: classifier) -> Trainer:
    """A trainer of a small model without BatchNorm, so that a gradient does not depend on how a batch is split."""
    classifier = small_classifier(config)
    model: nn.Module = wrap(classifier)
    run = SimpleNamespace(config=config, place=place)
    return Trainer(model, classifier, create_loader(config, place), run)


def micro_batches(loader, parts: int) -> tuple[Batch, ...]:
    """The first batch of a loader, cut into `parts`."""
    batch = next(iter(loader))
    return tuple(Batch(*cut) for cut in zip(*(tensor.chunk(parts) for tensor in batch[:3]), strict=True))


def weights_after(trainer: Trainer, batches: tuple[Batch, ...]) -> torch.Tensor:
    """All weights after one optimizer step, in one row."""
    trainer.step(batches)
    return nn.utils.parameters_to_vector(weights_of(trainer.classifier)).detach()


def weights_of(classifier: Classifier) -> list[nn.Parameter]:
    return list(classifier.parameters())
