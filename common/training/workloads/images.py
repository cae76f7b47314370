"""Image classifiers by name: torchvision's zoo, and timm's."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from common.command_line.model_names import ModelName, close_names, model_name, no_such_classifier
from common.errors import UsageError
from common.machine.torch_versions import import_torchvision
from common.records import RunConfig
from common.training.batch import Nested
from common.workload import Workload

# Mean and standard deviation of ImageNet's pixels (0..1), as torchvision's own recipes use them.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# Weight of each output in the loss, the main one first. GoogLeNet: Szegedy et al. 2014, section 5 (0.3 for each
# auxiliary classifier). Inception v3: 0.4, as in PyTorch's fine-tuning tutorial.
AUXILIARY_WEIGHTS = {"googlenet": (1.0, 0.3, 0.3), "inception_v3": (1.0, 0.4)}
MEMORY_FORMATS = {"channels_first": torch.contiguous_format, "channels_last": torch.channels_last}


class NormalisedImages(nn.Module):
    """Images (batch, 3, height, width) uint8 -> the same as float32, normalised as ImageNet's."""

    def __init__(self, config: RunConfig) -> None:
        super().__init__()
        self.memory_format = MEMORY_FORMATS[config.memory_format]
        pixels = torch.tensor((MEAN, STD)) * 255
        self.register_buffer("pixel_mean", pixels[0].view(3, 1, 1), persistent=False)
        self.register_buffer("pixel_std", pixels[1].view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        pixels = (images - self.pixel_mean) / self.pixel_std
        return pixels.contiguous(memory_format=self.memory_format)


def torchvision_workload(config: RunConfig) -> Workload:
    """A model of torchvision's classification zoo, its weights drawn from torch's generator.

    Raises `UsageError` for a name that is not in the zoo, and for images or classes that the model cannot take.
    """
    builder = _builder(config.model)
    try:
        model = builder(**_arguments(config))
    except (RuntimeError, ValueError, AssertionError) as error:
        raise cannot_train(config, error) from None
    return image_workload(model, config)


def timm_workload(config: RunConfig) -> Workload:
    """A model of timm's, with random weights. Raises `UsageError` as `torchvision_workload` does."""
    import timm

    name, names = model_name(config.model).name, timm.list_models()
    if name not in names:
        close = ", ".join(close_names(name, names, "convnext_tiny"))
        raise UsageError(f"timm has no model called {name!r}; close: {close}")
    described = timm.get_pretrained_cfg(name)
    # Those of a fixed size are told another one; the rest takes any, and knows no such argument.
    size: dict[str, Any] = {"img_size": config.image_size} if described and described.fixed_input_size else {}
    try:
        model = timm.create_model(name, pretrained=False, num_classes=config.num_classes, **size)
    except (RuntimeError, ValueError, AssertionError, TypeError) as error:
        raise cannot_train(config, error) from None
    return image_workload(model, config)


def image_workload(model: nn.Module, config: RunConfig) -> Workload:
    """Any classifier of images: (batch, 3, height, width) float32 -> logits, or several of them in a tuple."""
    weights = AUXILIARY_WEIGHTS.get(config.model, (1.0,))

    def loss(outputs: Nested, labels: Tensor) -> Tensor:
        """Mean cross-entropy over the batch: logits (batch, classes), or one of them for each head -> scalar."""
        heads = outputs if isinstance(outputs, tuple) else (outputs,)
        return sum(w * functional.cross_entropy(logits, labels) for w, logits in zip(weights, heads, strict=False))

    return Workload(model=model, loss=loss, unit="images", prepare=NormalisedImages(config))


def image_shapes(config: RunConfig) -> Tensor:
    """The images of the smallest micro-batch of a device: their shape alone."""
    shape = (config.smallest_micro_batch_size, 3, config.image_size, config.image_size)
    return torch.empty(shape, dtype=torch.uint8, device="meta")


def cannot_train(config: RunConfig, error: Exception) -> UsageError:
    """What to say where a model of the zoo fails for images of this size, or so many classes."""
    reason = str(error).strip().split("\n")[0] or "shapes do not fit"
    is_memory = "allocate" in reason
    advice = "lower --num-classes" if is_memory else f"try --image-size {_published_size(model_name(config.model))}"
    return UsageError(
        f"{config.model} cannot train on {config.smallest_micro_batch_size} images of {config.image_size} px "
        f"and {config.num_classes} classes at a time ({reason}); {advice}"
    )


def _published_size(model: ModelName) -> int:
    """Pixels of the images that the published weights of this model were made for."""
    library, name = model
    if library == "timm":
        import timm

        described = timm.get_pretrained_cfg(name)
        return described.input_size[-1] if described else 224
    return import_torchvision().models.get_model_weights(name).DEFAULT.transforms.keywords["crop_size"]


def _builder(name: str):
    zoo = import_torchvision().models
    names = zoo.list_models(module=zoo)
    if name not in names:
        raise no_such_classifier(name, names)
    return zoo.get_model_builder(name)


def _arguments(config: RunConfig) -> dict:
    arguments: dict = {"weights": None, "num_classes": config.num_classes}
    if config.model in AUXILIARY_WEIGHTS:
        arguments |= {"aux_logits": True, "init_weights": False}  # True warns, and draws for minutes on small machines
    if config.model.startswith("vit_"):
        arguments["image_size"] = config.image_size
    if config.model.startswith("maxvit_"):
        arguments["input_size"] = (config.image_size, config.image_size)
    return arguments
