"""What this host is: versions, processor, GPUs, and the limits that training meets.

Nothing here raises: a part that cannot be read is None (or empty). A missing line in a record is a small loss, a run
that dies over its own description is not.
"""

from __future__ import annotations

import os
import platform
import re
import socket
from collections.abc import Callable
from importlib import metadata, util
from pathlib import Path
from typing import TypeVar

import torch

from common.devices import cpu_cores, cpu_model
from common.metrics import Environment, Gpu
from common.nvml import open_nvml

T = TypeVar("T")


def describe() -> Environment:
    """Software and hardware of this host, in well under a second. Creates no CUDA context on any GPU."""
    with open_nvml() as nvml:
        return Environment(
            hostname=socket.gethostname(),
            platform=platform.platform(),
            python=platform.python_version(),
            torch=torch.__version__,
            torchvision=torchvision_version(),
            cuda=torch.version.cuda,
            driver=nvml.driver() if nvml else None,
            cudnn=_attempt(_cudnn_version),
            nccl=_attempt(lambda: ".".join(map(str, torch.cuda.nccl.version()))),
            cpu_model=cpu_model(),
            cpu_cores=cpu_cores(),
            ram_bytes=_attempt(lambda: os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")),
            load_average_1min=_attempt(lambda: os.getloadavg()[0]),
            gpus=_attempt(lambda: [_gpu(index, nvml) for index in range(torch.cuda.device_count())]) or [],
        )


def _gpu(index, nvml) -> Gpu:
    properties = torch.cuda.get_device_properties(index)
    driver = nvml.gpu_of_torch(properties) if nvml else None
    return Gpu(
        index=index,
        name=properties.name,
        uuid=driver.uuid() if driver else None,
        compute_capability=f"{properties.major}.{properties.minor}",
        memory_total_bytes=properties.total_memory,
        # Not torch.cuda.mem_get_info: it would put a CUDA context of some 500 MB on every GPU it asks.
        memory_free_bytes=driver.free_bytes() if driver else None,
        pcie_generation=driver.pcie_generation() if driver else None,
        pcie_width=driver.pcie_width() if driver else None,
        nvlink_links=driver.nvlink_links() if driver else None,
    )


def torchvision_version() -> str | None:
    """Version with its build ("0.28.0+cu130"), without importing torchvision, which may fail and takes a second."""

    def read() -> str:
        folder = Path(util.find_spec("torchvision").submodule_search_locations[0])
        return re.search(r"__version__ = ['\"](.+?)['\"]", (folder / "version.py").read_text())[1]

    return _attempt(read) or _attempt(lambda: metadata.version("torchvision"))


def _cudnn_version() -> str | None:
    number = torch.backends.cudnn.version()  # 91002 is 9.10.2, and 8902 (before version 9) is 8.9.2
    if number is None:
        return None
    scale = 10_000 if number >= 90_000 else 1_000
    return f"{number // scale}.{number % scale // 100}.{number % 100}"


def _attempt(read: Callable[[], T]) -> T | None:
    """What `read` returns, or None if it raises anything: see the head of this file."""
    try:
        return read()
    except Exception:
        return None
