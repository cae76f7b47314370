"""Whether convolutions and matrix products of fp32 tensors run in IEEE fp32 or in TF32, on every version of torch."""

from __future__ import annotations

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
