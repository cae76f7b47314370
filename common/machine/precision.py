"""What a device multiplies in: IEEE fp32, TF32 in its place, or 16 bits under autocast."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from common.errors import UsageError
from common.records import DeviceKind, Precision

NEEDS = {
    "tf32": "an NVIDIA GPU of compute capability 8.0 or later; try ieee-fp32",
    "bf16": "a GPU of compute capability 8.0 or later; try fp16",
    "fp16": "a GPU: CPU cores train in ieee-fp32 or bf16",
}


@dataclass
class _Before29:
    """What torch has as `fp32_precision` since 2.9, by the switch that it had until then."""

    backend: Any

    @property
    def fp32_precision(self) -> str:
        return "tf32" if self.backend.allow_tf32 else "ieee"

    @fp32_precision.setter
    def fp32_precision(self, precision: str) -> None:
        self.backend.allow_tf32 = precision == "tf32"


MATMUL, CONVOLUTION = torch.backends.cuda.matmul, getattr(torch.backends.cudnn, "conv", None)
"""Each has an attribute `fp32_precision`, `ieee` or `tf32`."""
if not hasattr(MATMUL, "fp32_precision"):
    MATMUL, CONVOLUTION = _Before29(MATMUL), _Before29(torch.backends.cudnn)


def precisions(device: torch.device) -> list[Precision]:
    """Those that 02, 03 and 04 accept on this device."""
    if device.type == "cpu":
        return ["ieee-fp32", "bf16"]
    if torch.cuda.get_device_capability(device)[0] < 8:
        return ["ieee-fp32", "fp16"]
    # AMD's capabilities are large numbers, too, without NVIDIA's TF32; not seen on one.
    return ["ieee-fp32", "bf16", "fp16"] if torch.version.hip else ["ieee-fp32", "tf32", "bf16", "fp16"]


def default_precision(kind: DeviceKind) -> Precision:
    """What PyTorch's convolutions run in on this device if nobody asks for anything."""
    has_tf32 = "tf32" in precisions(torch.device(kind, 0)) and os.environ.get("NVIDIA_TF32_OVERRIDE") != "0"
    return "tf32" if has_tf32 and CONVOLUTION.fp32_precision != "ieee" else "ieee-fp32"


def set_precision(precision: Precision, device: torch.device) -> None:
    """Make convolutions run in `precision`. `tf32` and the two half precisions leave matrix products as torch has them.

    Raises `UsageError` where the device lacks it. The half precisions are entered in `TrainedModel.forward`.
    """
    if precision not in precisions(device):
        raise UsageError(f"--precision {precision} needs {NEEDS[precision]}")
    if precision == "ieee-fp32":
        CONVOLUTION.fp32_precision = MATMUL.fp32_precision = "ieee"
    elif precision == "tf32":
        CONVOLUTION.fp32_precision = "tf32"


@contextmanager
def without_tf32() -> Iterator[None]:
    """While open, neither convolutions nor matrix products run in TF32."""
    before = CONVOLUTION.fp32_precision, MATMUL.fp32_precision
    CONVOLUTION.fp32_precision = MATMUL.fp32_precision = "ieee"
    try:
        yield
    finally:
        CONVOLUTION.fp32_precision, MATMUL.fp32_precision = before
