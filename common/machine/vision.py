"""torchvision, imported in one place."""

from __future__ import annotations

from functools import cache
from types import ModuleType

import torch

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
