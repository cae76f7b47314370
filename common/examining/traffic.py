"""Bytes that a step moves between devices, computed from the tensors that travel."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from common.records import DdpOptions, PhaseName
from common.training.batch import Batch, Nested, tensors_of
from common.training.data_parallel import EmulatedDataParallel
from common.training.distributed import gradient_bytes
from common.training.models import has_exchange


def bytes_moved(
    model: nn.Module, batches: Sequence[Batch], device: torch.device, ddp: DdpOptions | None
) -> dict[PhaseName, int]:
    """Bytes that a step moves between devices, by phase (`ProfileRecord.bytes_moved` in the record).

    `device` is the first one. What DataParallel gathers is found out by a forward pass.
    """
    module = getattr(model, "module", model)
    gradients = gradient_bytes(module)
    if has_exchange(model):
        if ddp.comm_hook == "powersgd":  # how much it sends it alone knows
            return {}
        return {"exchange": gradients // (1 if ddp.comm_hook == "none" else 2)}
    if not isinstance(model, nn.DataParallel):
        return {}
    others = sum(device != model.device_ids[0] for device in model.device_ids)  # on one GPU, nothing leaves it
    shares = others / len(model.device_ids)
    held = sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers()))
    emulated = isinstance(model, EmulatedDataParallel)  # cores share one memory: scattering hands out views
    with torch.no_grad():
        outputs = model(batches[0].to(device)[0])
    return {
        "scatter": 0 if emulated else round(sum(_bytes(batch.inputs) for batch in batches) * shares),
        "replicate": held * others * len(batches),  # DataParallel knows nothing of accumulation
        "gather": round(_bytes(outputs) * len(batches) * shares),
        "reduce": gradients * others * len(batches),
    }


def _bytes(value: Nested) -> int:
    return sum(tensor.nbytes for tensor in tensors_of(value))
