"""Libraries beside torch, in whichever build is installed: torchvision's import, its version, cuDNN's."""

import re
from functools import cache
from importlib import util
from pathlib import Path
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


def torchvision_version() -> str:
    """Version with its build ("0.28.0+cu130"), without importing torchvision, which may fail and takes a second."""
    folder = Path(util.find_spec("torchvision").submodule_search_locations[0])
    return re.search(r"__version__ = ['\"](.+?)['\"]", (folder / "version.py").read_text())[1]


def cudnn_version() -> str | None:
    """Its version; None where torch has no cuDNN."""
    number = torch.backends.cudnn.version()  # 91002 is 9.10.2, and 8902 (before version 9) is 8.9.2
    if number is None:
        return None
    scale = 10_000 if number >= 90_000 else 1_000
    return f"{number // scale}.{number % scale // 100}.{number % 100}"
