"""How many floating-point operations a model needs for a sample."""

from __future__ import annotations

from itertools import chain

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from common.records import FlopKind, RunConfig


def count_flops(model: nn.Module, config: RunConfig) -> dict[FlopKind, int] | None:
    """Floating-point operations of one sample's forward and backward, a multiplication and an addition being two.

    Counted by torch (`torch.utils.flop_counter`) over convolutions and matrix products, of shapes alone. None where
    torch cannot count this model's operations. Raises what the model itself raises for images that it cannot take.
    """
    try:
        with FlopCounterMode(display=False) as counter:
            _forward_of_shapes(model, config).sum().backward()
    except Exception:
        _forward_of_shapes(model, config)  # raises again if the model is at fault, and not the counter
        return None
    found: dict[FlopKind, int] = {"convolution": 0, "matmul": 0}
    for operation, flops in counter.get_flop_counts()["Global"].items():
        kind: FlopKind = "convolution" if "convolution" in str(operation) else "matmul"
        found[kind] += flops // config.smallest_micro_batch_size
    return found


def _forward_of_shapes(model: nn.Module, config: RunConfig) -> Tensor:
    """One forward on the meta device: shapes alone, so that it costs neither memory nor time."""
    state = {
        name: tensor.detach().to("meta").requires_grad_(tensor.requires_grad)
        for name, tensor in chain(model.named_parameters(), model.named_buffers())
    }
    shape = (config.smallest_micro_batch_size, 3, config.image_size, config.image_size)
    dtype, model.autocast_dtype = model.autocast_dtype, None  # there is no autocast for meta tensors
    # A batch norm leaves shapes as they are and is not counted: to find out its own would take most of the time.
    batch_norm, torch.batch_norm = torch.batch_norm, lambda features, *rest: features
    try:
        return functional_call(model, state, (torch.empty(shape, dtype=torch.uint8, device="meta"),))
    finally:
        torch.batch_norm = batch_norm
        model.autocast_dtype = dtype
