"""Model factory over torchvision's classification zoo."""

from __future__ import annotations

import difflib
import os
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional

from common.errors import UsageError
from common.machine.devices import LocalDevices
from common.machine.vision import import_torchvision
from common.records import FlopKind, RunConfig
from common.training.flops import count_flops
from common.training.precision import set_precision

# Mean and standard deviation of ImageNet's pixels (0..1), as torchvision's own recipes use them.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
MEMORY_FORMATS = {"channels_first": torch.contiguous_format, "channels_last": torch.channels_last}

# Weight of each output in the loss, the main one first. GoogLeNet: Szegedy et al. 2014, section 5 (0.3 for each
# auxiliary classifier). Inception v3: 0.4, as in PyTorch's fine-tuning tutorial.
AUXILIARY_WEIGHTS = {"googlenet": (1.0, 0.3, 0.3), "inception_v3": (1.0, 0.4)}


class Classifier(nn.Module):
    """A torchvision model from uint8 images to logits.

    Normalisation and autocast happen in here, and not in the training loop, because `forward` is what DataParallel
    runs on every device: its threads would otherwise normalise on device 0 alone, and would restore autocast without
    its dtype (bf16 outside would be fp16 inside).
    """

    def __init__(self, backbone: nn.Module, config: RunConfig) -> None:
        super().__init__()
        self.backbone = backbone
        self.autocast_dtype = AUTOCAST.get(config.precision)
        self.memory_format = MEMORY_FORMATS[config.memory_format]
        self.head_weights = AUXILIARY_WEIGHTS.get(config.model, (1.0,))
        pixels = torch.tensor((MEAN, STD)) * 255
        self.register_buffer("pixel_mean", pixels[0].view(3, 1, 1), persistent=False)
        self.register_buffer("pixel_std", pixels[1].view(3, 1, 1), persistent=False)

        self.flops_by_kind: dict[FlopKind, int] | None = None
        """Floating-point operations of one sample's forward and backward, once they are counted."""

    def forward(self, images: Tensor) -> Tensor:
        """Images (batch, 3, height, width) uint8 -> logits (batch, heads, classes) float32; head 0 is the main one."""
        dtype = self.autocast_dtype
        with torch.autocast(images.device.type, dtype=dtype) if dtype else nullcontext():
            pixels = (images - self.pixel_mean) / self.pixel_std
            outputs = self.backbone(pixels.contiguous(memory_format=self.memory_format))
        if isinstance(outputs, tuple):
            return torch.stack([head.float() for head in outputs], dim=1)
        return outputs.float().unsqueeze(1)  # a view: no kernel to launch

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy over the batch: logits (batch, heads, classes), labels (batch,) -> scalar."""
        return sum(w * functional.cross_entropy(logits[:, h], labels) for h, w in enumerate(self.head_weights))


def create_model(config: RunConfig, devices: LocalDevices) -> Classifier:
    """The model of `config` on the first device of `devices`, its weights drawn from `config.seed`.

    Raises `UsageError` for a name that is not in the zoo, for images or a batch that the model cannot take, and for a
    precision that the device lacks.
    """
    set_precision(config.precision, devices.device)
    torch.backends.cudnn.benchmark = config.cudnn_benchmark
    if config.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS refuses to be deterministic
        torch.use_deterministic_algorithms(True)
    builder = _builder(config.model)
    torch.manual_seed(config.seed)
    try:
        model = Classifier(builder(**_arguments(config)), config).train()
        model.flops_by_kind = count_flops(model, config)
    except (RuntimeError, ValueError, AssertionError) as error:
        reason = str(error).strip().split("\n")[0] or "shapes do not fit"
        is_memory = "allocate" in reason
        advice = "lower --num-classes" if is_memory else f"try --image-size {_published_size(config.model)}"
        raise UsageError(
            f"{config.model} cannot train on {config.smallest_micro_batch_size} images of {config.image_size} px "
            f"and {config.num_classes} classes at a time ({reason}); {advice}"
        ) from None
    seed_devices(devices, config.seed)
    if config.ddp and config.ddp.sync_bn:
        model.backbone = nn.SyncBatchNorm.convert_sync_batchnorm(model.backbone)
    # Before any wrapping: DDP lays its buckets in the memory format that it finds.
    return model.to(devices.device, memory_format=model.memory_format)


def seed_devices(devices: LocalDevices, seed: int) -> None:
    """Give every device of the run a random stream of its own.

    With one seed for all, dropout would take the same units from the samples of every rank and every replica.
    """
    first = seed + devices.rank * len(devices.indices)
    torch.manual_seed(first)
    for number, index in enumerate(devices.indices if devices.kind == "cuda" else ()):
        torch.cuda.default_generators[index].manual_seed(first + number)


def _published_size(name: str) -> int:
    """Pixels of the images that the published weights of this model were made for."""
    return import_torchvision().models.get_model_weights(name).DEFAULT.transforms.keywords["crop_size"]


def _builder(name: str):
    zoo = import_torchvision().models
    names = zoo.list_models(module=zoo)
    if name not in names:
        close = difflib.get_close_matches(name.lower(), names, n=4, cutoff=0.5) or ["resnet18", "resnet50", "vit_b_16"]
        raise UsageError(f"no torchvision classification model is called {name!r}; close: {', '.join(close)}")
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


def bare(model: nn.Module) -> Classifier:
    """The classifier inside a wrapper, or `model` itself."""
    return model if isinstance(model, Classifier) else model.module


def has_exchange(model: nn.Module) -> bool:
    """Whether its backward pass exchanges gradients between processes: torch's DDP, and those built by hand."""
    return hasattr(model, "no_sync")
