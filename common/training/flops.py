"""How many floating-point operations a model needs for a sample."""

from __future__ import annotations

from itertools import chain

import torch
from torch import nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from common.records import FlopKind
from common.training.batch import Nested, tensors_of


def count_flops(model: nn.Module, inputs: Nested) -> dict[FlopKind, int] | None:
    """Floating-point operations of one sample's forward and backward, a multiplication and an addition being two.

    Counted by torch (`torch.utils.flop_counter`) over convolutions and matrix products, of shapes alone: `inputs` is a
    batch on the meta device. None where torch cannot count this model's operations. Raises what the model itself raises
    for inputs that it cannot take.
    """
    try:
        with FlopCounterMode(display=False) as counter:
            outputs = _forward_of_shapes(model, inputs)
            sum(output.sum() for output in tensors_of(outputs) if output.requires_grad).backward()
    except Exception:
        _forward_of_shapes(model, inputs)  # raises again if the model is at fault, and not the counter
        return None
    return _by_kind(counter, inputs)


def count_flops_by_running(model: nn.Module, inputs: Nested) -> dict[FlopKind, int] | None:
    """The same of a real batch, where it lies: for models that look at the numbers in their tensors."""
    dtype, model.autocast_dtype = model.autocast_dtype, None
    try:
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            sum(output.sum() for output in tensors_of(model(inputs)) if output.requires_grad).backward()
    except Exception:
        return None
    finally:
        model.autocast_dtype = dtype
        model.zero_grad(set_to_none=True)
    return _by_kind(counter, inputs)


def _by_kind(counter: FlopCounterMode, inputs: Nested) -> dict[FlopKind, int]:
    flops_by_kind: dict[FlopKind, int] = {"convolution": 0, "matmul": 0}
    for operation, flops in counter.get_flop_counts()["Global"].items():
        kind: FlopKind = "convolution" if "convolution" in str(operation) else "matmul"
        flops_by_kind[kind] += flops // len(tensors_of(inputs)[0])
    return flops_by_kind


def _forward_of_shapes(model: nn.Module, inputs: Nested) -> Nested:
    """One forward on the meta device: shapes alone, so that it costs neither memory nor time."""
    state = {
        name: tensor.detach().to("meta").requires_grad_(tensor.requires_grad)
        for name, tensor in chain(model.named_parameters(), model.named_buffers())
    }
    dtype, model.autocast_dtype = model.autocast_dtype, None  # there is no autocast for meta tensors
    # A batch norm leaves shapes as they are and is not counted: to find out its own would take most of the time.
    batch_norm, torch.batch_norm = torch.batch_norm, lambda features, *rest: features
    try:
        return functional_call(model, state, (inputs,))
    finally:
        torch.batch_norm = batch_norm
        model.autocast_dtype = dtype
