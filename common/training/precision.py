"""Which precision the arithmetic runs in."""

from __future__ import annotations

from contextlib import contextmanager

import torch
from torch import nn

from common.errors import UsageError
from common.machine.devices import has_tf32
from common.machine.vision import import_torchvision
from common.records import Precision


def set_precision(precision: Precision, device: torch.device) -> None:
    """Make convolutions run in `precision`. `tf32` and the two half precisions leave matrix products as torch has them.

    Raises `UsageError` where the device lacks it. The half precisions are entered in `Classifier.forward`.
    """
    on_gpu = device.type == "cuda"
    ampere = on_gpu and torch.cuda.get_device_capability(device)[0] >= 8
    if precision == "tf32" and not (ampere and has_tf32(device)):
        raise UsageError("--precision tf32 needs an NVIDIA GPU of compute capability 8.0 or later; try ieee-fp32")
    if precision == "bf16" and on_gpu and not ampere:
        raise UsageError("--precision bf16 needs a GPU of compute capability 8.0 or later; try fp16")
    if precision == "fp16" and not on_gpu:
        raise UsageError("--precision fp16 needs a GPU: CPU cores train in ieee-fp32 or bf16")
    if precision == "ieee-fp32":
        torch.backends.cudnn.conv.fp32_precision = torch.backends.cuda.matmul.fp32_precision = "ieee"
    elif precision == "tf32":
        torch.backends.cudnn.conv.fp32_precision = "tf32"


@contextmanager
def ieee_fp32(classifier: nn.Module):
    """IEEE fp32, no dropout, buffers put back at the end: the same samples give the same gradient twice."""
    backends = (torch.backends.cudnn.conv, torch.backends.cuda.matmul)
    fp32 = [backend.fp32_precision for backend in backends]
    dtype, buffers = classifier.autocast_dtype, [buffer.clone() for buffer in classifier.buffers()]
    random_kinds = (nn.modules.dropout._DropoutNd, import_torchvision().ops.StochasticDepth)
    random_layers = [module for module in classifier.modules() if isinstance(module, random_kinds)]
    try:
        classifier.autocast_dtype = None
        for backend in backends:
            backend.fp32_precision = "ieee"
        for module in random_layers:
            module.eval()
        yield
    finally:
        classifier.autocast_dtype = dtype
        for backend, value in zip(backends, fp32, strict=True):
            backend.fp32_precision = value
        for module in random_layers:
            module.train()
        with torch.no_grad():
            for buffer, value in zip(classifier.buffers(), buffers, strict=True):
                buffer.copy_(value)
