"""Which precision the arithmetic runs in."""

import random
import threading
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from common.errors import UsageError
from common.machine.devices import CONVOLUTION, MATMUL, has_tf32
from common.machine.environment import import_torchvision
from common.records import Precision


def set_precision(precision: Precision, device: torch.device) -> None:
    """Make convolutions run in `precision`. `tf32` and the two half precisions leave matrix products as torch has them.

    Raises `UsageError` where the device lacks it. The half precisions are entered in `TrainedModel.forward`.
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
        CONVOLUTION.fp32_precision = MATMUL.fp32_precision = "ieee"
    elif precision == "tf32":
        CONVOLUTION.fp32_precision = "tf32"


@contextmanager
def ieee_fp32(model: nn.Module):
    """IEEE fp32, the same random numbers in each forward pass, buffers put back at the end: the same samples give the
    same gradient twice.

    Layers that are nothing but random are switched off: in fp64, and where a batch is not cut up, they would draw other
    numbers. Everything else that draws (attention's own dropout, `torch.rand`, NumPy) draws the same again.
    """
    backends = (CONVOLUTION, MATMUL)
    fp32 = [backend.fp32_precision for backend in backends]
    dtype, buffers = model.autocast_dtype, [buffer.clone() for buffer in model.buffers()]
    random_kinds = (nn.modules.dropout._DropoutNd, import_torchvision().ops.StochasticDepth)
    random_layers = [layer for layer in model.modules() if isinstance(layer, random_kinds) and layer.training]
    try:
        model.autocast_dtype, model.repeats_random_numbers = None, True
        for backend in backends:
            backend.fp32_precision = "ieee"
        for layer in random_layers:
            layer.eval()
        yield
    finally:
        model.autocast_dtype, model.repeats_random_numbers = dtype, False
        for backend, value in zip(backends, fp32, strict=True):
            backend.fp32_precision = value
        for layer in random_layers:
            layer.train()
        with torch.no_grad():
            for buffer, value in zip(model.buffers(), buffers, strict=True):
                buffer.copy_(value)


def draws_random_numbers(model: nn.Module, inputs: Any, device: torch.device) -> bool:
    """Whether a forward pass takes numbers from torch's generator of `device`. Within `ieee_fp32`."""
    generator = torch.cuda.default_generators[device.index] if device.type == "cuda" else torch.default_generator
    before, model.repeats_random_numbers = generator.get_state(), False
    try:
        with torch.no_grad():
            model(inputs)
        return not torch.equal(generator.get_state(), before)
    finally:
        generator.set_state(before)
        model.repeats_random_numbers = True


@contextmanager
def same_random_numbers(device: torch.device):
    """Inside, the generators of torch, NumPy and Python begin at the same place each time; afterwards they go on.

    Threads share them, so that replicas of DataParallel take turns.
    """
    on_gpu = device.type == "cuda"
    with _ONE_AT_A_TIME, torch.random.fork_rng(devices=[device.index] if on_gpu else []):
        of_python, of_numpy = random.getstate(), np.random.get_state()
        torch.default_generator.manual_seed(0)
        if on_gpu:
            torch.cuda.default_generators[device.index].manual_seed(0)
        random.seed(0)
        np.random.seed(0)
        try:
            yield
        finally:
            random.setstate(of_python)
            np.random.set_state(of_numpy)


_ONE_AT_A_TIME = threading.Lock()
