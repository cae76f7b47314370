"""What differs between versions and builds of torch and torchvision: the switches of TF32, and who has it."""

import os
from functools import cache
from types import ModuleType
from typing import Any

import torch

from common.records import DeviceKind, Precision


class _Before29:
    """What torch has as `fp32_precision` since 2.9, by the switch that it had until then."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend

    @property
    def fp32_precision(self) -> str:
        """`tf32` or `ieee`."""
        return "tf32" if self._backend.allow_tf32 else "ieee"

    @fp32_precision.setter
    def fp32_precision(self, precision: str) -> None:
        self._backend.allow_tf32 = precision == "tf32"


def _backend(own: Any, before: Any) -> Any:
    return own if hasattr(own, "fp32_precision") else _Before29(before)


CONVOLUTION = _backend(getattr(torch.backends.cudnn, "conv", None), torch.backends.cudnn)
MATMUL = _backend(torch.backends.cuda.matmul, torch.backends.cuda.matmul)
"""Each has an attribute `fp32_precision`, `ieee` or `tf32`."""


def has_tf32(device: torch.device | int = 0) -> bool:
    """Whether a GPU has NVIDIA's TF32. AMD's, whose capability has large numbers, too, round in another way or not at
    all; not seen on one."""
    return torch.version.hip is None and torch.cuda.get_device_capability(device)[0] >= 8


def default_precision(kind: DeviceKind) -> Precision:
    """What PyTorch's convolutions run in on this device if nobody asks for anything."""
    tf32 = (
        kind == "cuda"
        and has_tf32()
        and CONVOLUTION.fp32_precision != "ieee"
        and os.environ.get("NVIDIA_TF32_OVERRIDE") != "0"
    )
    return "tf32" if tf32 else "ieee-fp32"


_declared: list[torch.library.Library] = []
"""What was declared to torch, for it ends with the object that declared it."""


@cache
def import_torchvision() -> ModuleType:
    """torchvision, also where a build for CUDA meets a torch without it.

    torchvision's C++ operators do not load then, and its import stumbles over `torchvision::nms`, which has no schema.
    The lab needs the models alone: declaring the two schemas is enough to import them.
    """
    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::nms does not exist" not in str(error):
            raise
        library = torch.library.Library("torchvision", "FRAGMENT")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _declared.append(library)
        import torchvision
    import torchvision.models
    import torchvision.ops

    return torchvision
