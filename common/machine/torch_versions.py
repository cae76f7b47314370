"""What differs between versions and builds of torch and torchvision."""

from __future__ import annotations

from functools import cache
from types import ModuleType
from typing import Any

import torch


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
