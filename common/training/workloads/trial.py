"""A first step of a model that nobody here knows, before anything is wrapped: what is wrong with it is said at once."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from common.records import RunConfig
from common.training.batch import Batch, Nested, map_tensors, tensors_of
from common.training.workloads.user_file import UserCodeError, errors_of, place_of

SAMPLES = 4
MAX_DIFFERENCE = 0.1
"""Of two gradients of the same samples and random numbers; rounding, in whatever order, stays far below."""


def try_first_step(model: nn.Module, batch: Batch, config: RunConfig, path: Path) -> list[str]:
    """Forward, loss and backward of a few samples, twice; leaves weights, gradients and buffers as they were.

    Returns what is worth a warning. Raises `UserCodeError`, which names a line of `path`, for what cannot be trained.
    """
    device = next(model.parameters()).device
    inputs, targets = batch.to(device)
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model.repeats_random_numbers = True
    try:
        gradients = [_gradient(model, inputs, targets, path) for _ in range(2)]
        changed = _changed_buffers(model, buffers)
    finally:
        model.repeats_random_numbers = False
        model.zero_grad(set_to_none=True)
        with torch.no_grad():
            for name, buffer in model.named_buffers():
                buffer.copy_(buffers[name])
    first, again = gradients
    _refuse_unused(model, first, config, path)
    difference, size = (sum(g.double().square().sum() for g in part) for part in (
        [first[name] - again.get(name, 0) for name in first], first.values()))  # fmt: skip
    if difference > MAX_DIFFERENCE**2 * size and not changed:
        raise UserCodeError(
            f"{place_of(model.backbone, path)}: the same samples and random seed gave two different gradients: the "
            "model draws from a generator of its own, or keeps a state from step to step; draw with torch.rand or "
            "nn.Dropout"
        )
    parallel = config.ddp is not None or config.per_device_batch_size < config.global_batch_size
    return _warnings(changed, path) if parallel else []


def _gradient(model: nn.Module, inputs: Nested, targets: Nested, path: Path) -> dict[str, Tensor]:
    with errors_of(path, f"called with {described(inputs)}"):
        outputs = model(inputs)
    if not tensors_of(outputs):
        raise UserCodeError(
            f"{place_of(model.backbone, path)}: forward returns {type(outputs).__name__}: return a tensor, or a tuple, "
            "dict or dataclass of tensors"
        )
    with errors_of(path, f"outputs {described(outputs)}, targets {described(targets)}"):
        loss = model.loss(outputs, targets)
    if not isinstance(loss, Tensor) or loss.shape:
        what = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else f"{type(loss).__name__}"
        raise UserCodeError(f"{place_of(model.loss_of_outputs, path)}: the loss is {what}: return a scalar, its mean")
    with errors_of(path):
        loss.backward()
    gradient = {name: p.grad.detach().clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    return gradient


def _refuse_unused(model: nn.Module, gradients: dict[str, Tensor], config: RunConfig, path: Path) -> None:
    """Raises `UserCodeError` where DDP would wait for gradients that never come."""
    unused = [name for name, p in model.named_parameters() if p.requires_grad and name not in gradients]
    if not unused or config.ddp is None or config.ddp.find_unused_parameters or config.ddp.exchange != "ddp":
        return
    owner = model.get_submodule(unused[0].rpartition(".")[0])
    name = unused[0].removeprefix("backbone.")
    more = f" and {len(unused) - 1} more" if len(unused) > 1 else ""
    place = place_of(owner, path)
    raise UserCodeError(
        f"{place if place != str(path) else place_of(model.backbone, path)}: {name}{more} has no part in the loss, and "
        "DDP would wait for its gradient: add --find-unused-parameters, remove it, or set requires_grad = False"
    )


def _changed_buffers(model: nn.Module, before: dict[str, Tensor]) -> list[tuple[str, nn.Module]]:
    """Buffers that forward has changed, with their owners; a BatchNorm's are meant to be."""
    changed = []
    for name, buffer in model.named_buffers():
        owner = model.get_submodule(name.rpartition(".")[0])
        if not isinstance(owner, nn.modules.batchnorm._NormBase) and not torch.equal(buffer, before[name]):
            changed.append((name.removeprefix("backbone."), owner))
    return changed


def _warnings(changed: list[tuple[str, nn.Module]], path: Path) -> list[str]:
    return [
        f"{place_of(owner, path)}: forward changes the buffer {name}: DataParallel keeps the change of device 0 alone, "
        "DDP one for each rank (--broadcast-buffers: that of rank 0)"
        for name, owner in changed
    ]


def described(value: Nested) -> str:
    """`float32 (4, 3, 64, 64)`; of several, one after another."""
    if value is None:
        return "none"
    names: list[str] = []
    map_tensors(lambda tensor: names.append(f"{str(tensor.dtype)[6:]} {tuple(tensor.shape)}"), value)
    if isinstance(value, dict):
        return ", ".join(f"{name}: {text}" for name, text in zip(value, names, strict=False))
    return ", ".join(names)
