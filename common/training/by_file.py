"""`--model my_model.py:build`: a model of the user's own, as a workload, and its first step.

The step comes before anything is wrapped: what is wrong with the model is said at once.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from common.errors import UsageError
from common.records import RunConfig
from common.training.batch import Batch, Nested, tensors_of
from common.training.by_library import NormalisedImages, image_workload
from common.training.data import generator
from common.training.user_file import MOVES_ITSELF, UserCodeError, UserFile, kind_of
from common.workload import Workload

DTYPES = {"float32": torch.float32, "int64": torch.int64, "uint8": torch.uint8}
MAX_DIFFERENCE = 0.1
"""Of two gradients of the same samples and random numbers; rounding, in whatever order, stays far below."""


def workload_of_file(config: RunConfig) -> Workload:
    """What the function returns: a workload; or a module, from images, or from samples of a declared shape, to logits.

    Raises `UserCodeError` for what is none of them.
    """
    file = UserFile(config.model, "build", "--model")
    built, build = file.call()
    where = file.place_of(build)
    if isinstance(built, nn.Module):
        built = Workload(model=built)
        config.sample = config.sample or getattr(build, "__globals__", {}).get("SAMPLE", "")  # as `--sample` says it
    elif not isinstance(built, Workload):
        raise UserCodeError(
            f"{where}: {file.function}() returns {kind_of(built)}: return an nn.Module, or a Workload "
            "(from common.workload import Workload)"
        )
    if not isinstance(built.model, nn.Module):
        raise UserCodeError(f"{where}: the workload's model is {kind_of(built.model)}: give an nn.Module")
    tensors = [*built.model.parameters(), *built.model.buffers()]
    if elsewhere := {tensor.device.type for tensor in tensors} - {"cpu"}:
        raise UserCodeError(f"{where}: the model is on {elsewhere.pop()} already: {MOVES_ITSELF}")
    if not any(parameter.requires_grad for parameter in built.model.parameters()):
        raise UserCodeError(f"{where}: no parameter of the model requires a gradient: there is nothing to train")
    config.model_source = file.source()
    if built.sample is not None:
        return built
    with file.errors():
        return _with_samples(built, config)


def _with_samples(built: Workload, config: RunConfig) -> Workload:
    """A workload of images, or of inputs of the declared shape; there are as many classes as the model has outputs."""
    if config.sample:
        inputs = declared_sample(config.sample)
        example = torch.stack([inputs(0, 0)] * 2)
    else:
        pixels = torch.zeros(2, 3, config.image_size, config.image_size, dtype=torch.uint8)
        example = NormalisedImages(config)(pixels)
    if not config.num_classes:
        with torch.no_grad():
            config.num_classes = tensors_of(built.model.eval()(example))[0].shape[-1]
        built.model.train()
    if not config.sample:
        images = image_workload(built.model, config)
        images.loss, images.optimizer = built.loss or images.loss, built.optimizer
        return images
    classes = config.num_classes

    def sample(seed: int, index: int) -> tuple[Tensor, Tensor]:
        return inputs(seed, index), torch.randint(classes, (), generator=generator(seed, index))

    built.sample = sample
    return built


def declared_sample(text: str) -> Callable[[int, int], Tensor]:
    """`3x64x64 float32`: normal numbers; `128 int64 1000`: whole ones from 0 to below 1000. Raises `UsageError`."""
    declared = re.fullmatch(r"([1-9]\d*(?:x[1-9]\d*)*)(?:\s+(\w+)(?:\s+([1-9]\d*))?)?", text.strip())
    dtype = DTYPES.get(declared[2] or "float32") if declared else None
    if declared is None or dtype is None:
        raise UsageError(
            f"--sample {text!r}: give a shape, and a type: '3x64x64 float32', or '128 int64 1000' for whole numbers "
            f"below 1000 ({', '.join(DTYPES)})"
        )
    shape, below = tuple(map(int, declared[1].split("x"))), int(declared[3] or 256)

    def sample(seed: int, index: int) -> Tensor:
        random = generator(seed, index)
        if dtype == torch.float32:
            return torch.randn(shape, generator=random)
        return torch.randint(below, shape, dtype=dtype, generator=random)

    return sample


def try_first_step(model: nn.Module, batch: Batch, config: RunConfig, file: UserFile) -> list[str]:
    """Forward, loss and backward of a few samples, twice; leaves weights, gradients and buffers as they were.

    Returns what is worth a warning. Raises `UserCodeError`, which names a line of `file`, for what cannot be trained.
    """
    model.repeats_random_numbers = True
    try:
        with left_unchanged(model) as buffers:
            first, again = (_gradient(model, batch, file) for _ in range(2))
            changed = [name for name, before in buffers.items() if not torch.equal(model.get_buffer(name), before)]
    finally:
        model.repeats_random_numbers = False
    _refuse_unused(model, first, config, file)
    owners = {name: model.get_submodule(name.rpartition(".")[0]) for name in changed}
    # What a BatchNorm changes is meant to be.
    owners = {name: owner for name, owner in owners.items() if not isinstance(owner, nn.modules.batchnorm._NormBase)}
    difference = _norm(first[name] - again.get(name, 0) for name in first)
    if difference > MAX_DIFFERENCE * _norm(first.values()) and not owners:
        raise UserCodeError(
            f"{file.place_of(model.backbone)}: the same samples and random seed gave two different gradients: the "
            "model draws from a generator of its own, or keeps a state from step to step; draw with torch.rand or "
            "nn.Dropout"
        )
    if config.ddp is None and config.per_device_batch_size == config.global_batch_size:
        return []  # one device
    return [
        f"{file.place_of(owner)}: forward changes the buffer {name.removeprefix('backbone.')}: DataParallel keeps the "
        "change of device 0 alone, DDP one for each rank (--broadcast-buffers: that of rank 0)"
        for name, owner in owners.items()
    ]


@contextmanager
def left_unchanged(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """While open, `model` may take steps: afterwards it has no gradients, and its buffers are as before.

    Yields their values. To run the forward pass on copies of them is not enough: checkpointed layers run again during
    the backward pass, on the model's own buffers and weights, and a loss can have buffers, too.
    """
    own = dict(model.named_buffers())
    before = {name: buffer.clone() for name, buffer in own.items()}
    try:
        yield before
    finally:
        model.zero_grad(set_to_none=True)
        for name, buffer in own.items():
            owner, _, last = name.rpartition(".")
            with torch.no_grad():
                setattr(model.get_submodule(owner), last, buffer.copy_(before[name]))


def _norm(gradients: Iterable[Tensor]) -> float:
    return sum(gradient.double().square().sum().item() for gradient in gradients) ** 0.5


def _gradient(model: nn.Module, batch: Batch, file: UserFile) -> dict[str, Tensor]:
    inputs, targets = batch.to(next(model.parameters()).device)
    with file.errors(f"called with {described(inputs)}"):
        outputs = model(inputs)
    if not tensors_of(outputs):
        raise UserCodeError(
            f"{file.place_of(model.backbone)}: forward returns {type(outputs).__name__}: return a tensor, or a tuple, "
            "dict or dataclass of tensors"
        )
    with file.errors(f"outputs {described(outputs)}, targets {described(targets)}"):
        loss = model.loss(outputs, targets)
    if not isinstance(loss, Tensor) or loss.shape:
        what = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else f"{type(loss).__name__}"
        raise UserCodeError(f"{file.place_of(model.loss)}: the loss is {what}: return a scalar, its mean")
    with file.errors():
        loss.backward()
    gradient = {name: p.grad.detach().clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    return gradient


def _refuse_unused(model: nn.Module, gradients: dict[str, Tensor], config: RunConfig, file: UserFile) -> None:
    """Raises `UserCodeError` where DDP would wait for gradients that never come."""
    unused = [name for name, p in model.named_parameters() if p.requires_grad and name not in gradients]
    if not unused or config.ddp is None or config.ddp.find_unused_parameters or config.ddp.exchange != "ddp":
        return
    name = unused[0].removeprefix("backbone.")
    more = f" and {len(unused) - 1} more" if len(unused) > 1 else ""
    owner = file.place_of(model.get_submodule(unused[0].rpartition(".")[0]))
    place = owner if owner != str(file.path) else file.place_of(model.backbone)
    raise UserCodeError(
        f"{place}: {name}{more} has no part in the loss, and DDP would wait for its gradient: add "
        "--find-unused-parameters, remove it, or set requires_grad = False"
    )


def described(value: Nested) -> str:
    """`float32 (4, 3, 64, 64)`; of several, one after another."""
    texts = [f"{str(tensor.dtype)[6:]} {tuple(tensor.shape)}" for tensor in tensors_of(value)]
    if isinstance(value, dict):
        texts = [f"{name}: {text}" for name, text in zip(value, texts, strict=False)]
    return ", ".join(texts) or "none"
