"""Models by name: image classifiers of torchvision's zoo and timm's, and language models of transformers.

Nothing is downloaded, and all weights are random. `--model hf:gpt2?n_layer=4,n_embd=256` is the configuration of its
class, with values changed by name; others lie in a local folder.
"""

import ast
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from common.command_line.model_names import close_names, model_name, no_such_classifier
from common.errors import UsageError
from common.machine.libraries import import_torchvision
from common.records import RunConfig
from common.training.batch import Nested
from common.training.data import generator
from common.workload import Workload

# Mean and standard deviation of ImageNet's pixels (0..1), as torchvision's own recipes use them.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# Weight of each output in the loss, the main one first. GoogLeNet: Szegedy et al. 2014, section 5 (0.3 for each
# auxiliary classifier). Inception v3: 0.4, as in PyTorch's fine-tuning tutorial.
AUXILIARY_WEIGHTS = {"googlenet": (1.0, 0.3, 0.3), "inception_v3": (1.0, 0.4)}
MEMORY_FORMATS = {"channels_first": torch.contiguous_format, "channels_last": torch.channels_last}
LANGUAGE_MODELS = ("AutoModelForMaskedLM", "AutoModelForCausalLM", "AutoModelForSeq2SeqLM")
"""Kinds of heads, the first that a type has: one that reads both ways is trained to fill in words."""


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
    zoo, name = import_torchvision().models, config.model
    names = zoo.list_models(module=zoo)
    if name not in names:
        raise no_such_classifier(name, names)
    more: dict[str, Any] = {}
    if name in AUXILIARY_WEIGHTS:
        more = {"aux_logits": True, "init_weights": False}  # True warns, and draws for minutes on small machines
    elif name.startswith("vit_"):
        more = {"image_size": config.image_size}
    elif name.startswith("maxvit_"):
        more = {"input_size": (config.image_size, config.image_size)}
    return _built(config, zoo.get_model_builder(name), weights=None, num_classes=config.num_classes, **more)


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
    return _built(config, timm.create_model, model_name=name, pretrained=False, num_classes=config.num_classes, **size)


def _built(config: RunConfig, build: Callable[..., nn.Module], **arguments: Any) -> Workload:
    try:
        return image_workload(build(**arguments), config)
    except (RuntimeError, ValueError, AssertionError, TypeError) as error:
        raise cannot_train(config, error) from None


def cannot_train(config: RunConfig, error: Exception) -> UsageError:
    """What to say where a classifier of a library fails for images of this size, or so many classes."""
    reason = str(error).strip().split("\n")[0] or "shapes do not fit"
    library, name = model_name(config.model)
    if "allocate" in reason:
        advice = "lower --num-classes"
    elif library == "timm":
        import timm

        described = timm.get_pretrained_cfg(name)
        advice = f"try --image-size {described.input_size[-1] if described else 224}"
    else:  # that of the published weights
        transforms = import_torchvision().models.get_model_weights(name).DEFAULT.transforms
        advice = f"try --image-size {transforms.keywords['crop_size']}"
    if "more than 1 value per channel" in reason:
        advice = f"BatchNorm needs two samples for each device: raise --batch-size, or {advice}"
    count = config.smallest_micro_batch_size
    images = "1 image" if count == 1 else f"{count} images"
    return UsageError(
        f"{config.model} cannot train on {images} of {config.image_size} px "
        f"and {config.num_classes} classes at a time ({reason}); {advice}"
    )


def image_workload(model: nn.Module, config: RunConfig) -> Workload:
    """Any classifier of images: (batch, 3, height, width) float32 -> logits, or several of them in a tuple."""
    weights = AUXILIARY_WEIGHTS.get(config.model, (1.0,))

    def loss(outputs: Nested, labels: Tensor) -> Tensor:
        """Mean cross-entropy over the batch: logits (batch, classes), or one of them for each head -> scalar."""
        heads = outputs if isinstance(outputs, tuple) else (outputs,)
        return sum(w * functional.cross_entropy(logits, labels) for w, logits in zip(weights, heads, strict=False))

    return Workload(model=model, loss=loss, unit="images", prepare=NormalisedImages(config))


def own_loss(outputs: Nested, targets: Nested) -> Tensor:
    """The loss that a model computes by itself, else the mean cross-entropy of its logits (batch, classes, …).

    DataParallel gathers a loss of `forward` as a vector, a number for each replica: the mean of it.
    """
    if isinstance(outputs, dict) and "loss" in outputs:
        outputs, targets = outputs["loss"], None
    if targets is None:
        if not isinstance(outputs, Tensor) or outputs.ndim > 1:
            raise ValueError("samples have no targets, and the outputs are no loss: give the workload a loss")
        return outputs.mean()
    return functional.cross_entropy(outputs, targets)


def transformers_workload(config: RunConfig) -> Workload:
    """A language model that computes its own loss, on sequences of `--sequence-length` tokens.

    Raises `UsageError` for a type or a value that transformers does not know, and for what is no language model.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"
    import transformers

    transformers.logging.set_verbosity_error()
    length = config.sequence_length
    try:
        made = _configuration(config.model)
        made.use_cache = False  # it is for generating
        limit = getattr(made, "max_position_embeddings", None)
        if limit and length > limit:
            raise UsageError(f"--sequence-length {length}: {config.model} takes at most {limit} tokens")
        heads = [getattr(transformers, name) for name in LANGUAGE_MODELS]
        fitting = [head for head in heads if type(made) in head._model_mapping]
        if not fitting:
            raise UsageError(
                f"--model {config.model}: {made.model_type} is no language model; build it in a file of your own "
                "(docs/models.md)"
            )
        model = fitting[0].from_config(made)
    except (MemoryError, UsageError):
        raise
    except Exception as error:  # what a class finds wrong with its values may be of any kind
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UsageError(f"--model {config.model}: transformers cannot build it ({reason})") from None

    def sample(seed: int, index: int) -> dict[str, Tensor]:
        """Numbers that follow each other from a random one on: what comes next can be learned."""
        first = torch.randint(made.vocab_size, (), generator=generator(seed, index))
        tokens = (first + torch.arange(length)) % made.vocab_size
        return {"input_ids": tokens, "labels": tokens}

    return Workload(model=model, sample=sample, unit="tokens", units_per_sample=length)


def _configuration(model: str) -> Any:
    """That of `hf:gpt2?n_layer=4,n_embd=256`: of an architecture, or in a folder, with values changed by name."""
    from transformers import AutoConfig
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    kind, _, changes = model_name(model).name.partition("?")
    if Path(kind, "config.json").is_file():
        made = AutoConfig.from_pretrained(Path(kind), local_files_only=True, trust_remote_code=False)
    elif kind in CONFIG_MAPPING_NAMES:
        made = AutoConfig.for_model(kind)
    else:
        raise UsageError(
            f"--model {model}: transformers has no architecture called {kind!r}; close: "
            f"{_close(kind, list(CONFIG_MAPPING_NAMES))}. Names of trained models are not looked up: give an "
            "architecture, hf:bert, or a folder with config.json"
        )
    values = made.to_dict()
    known = sorted({*values, *made.attribute_map})
    for part in filter(None, changes.split(",")):
        name, equals, value = part.partition("=")
        if not equals or not name:
            raise UsageError(f"--model {model}: give values by name, hf:gpt2?n_layer=4,n_embd=256, not {part!r}")
        if name not in known:
            raise UsageError(f"--model {model}: {kind} has no setting {name}; close: {_close(name, known)}")
        values[name] = value
        with suppress(ValueError, SyntaxError):  # else it is a word
            values[name] = ast.literal_eval(value)
    return type(made).from_dict(values)


def _close(name: str, names: list[str]) -> str:
    """Names like this one; those that it begins with first: `bert` for `bert-base-uncased`."""
    beginnings = sorted((one for one in names if name.lower().startswith(one)), key=len, reverse=True)
    return ", ".join(list(dict.fromkeys([*beginnings, *close_names(name, names)]))[:4] or names[:3])
