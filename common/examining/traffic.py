"""Bytes that a step moves between devices, computed from the tensors that travel."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from common.records import DdpOptions, PhaseName
from common.training.batch import Batch
from common.training.data_parallel import EmulatedDataParallel
from common.training.distributed import gradient_bytes
from common.training.models import has_exchange


def bytes_moved(
    model: nn.Module, batches: Sequence[Batch], logits_bytes: int, ddp: DdpOptions | None
) -> dict[PhaseName, int]:
    """Bytes that a step moves between devices, by phase (`ProfileRecord.bytes_moved` in the record)."""
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
    return {
        "scatter": 0 if emulated else round(sum(batch.images.nbytes for batch in batches) * shares),
        "replicate": held * others * len(batches),  # DataParallel knows nothing of accumulation
        "gather": round(logits_bytes * shares),
        "reduce": gradients * others * len(batches),
    }
