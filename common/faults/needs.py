"""What a machine must have for a fault to be caused on it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import cache

from common.faults.fault import Fault
from common.records import FaultNeed

NAMESPACE = ("unshare", "--map-root-user", "--mount", "--net", "true")


def missing(fault: Fault) -> FaultNeed | None:
    """The first thing that is not here; None where the fault can be caused."""
    on_gpus = bool(fault.on_gpus) and gpus() > 0
    return next((need for need in fault.needs if not _is_here(need) and not (need == "prlimit" and on_gpus)), None)


def _is_here(need: FaultNeed) -> bool:
    match need:
        case "linux":
            return sys.platform == "linux"
        case "gpu":
            return gpus() >= 1
        case "two_gpus":
            return gpus() >= 2
        case "namespaces":
            return _works(*NAMESPACE)
        case "traffic_control":
            return _works(*NAMESPACE) and shutil.which("tc") is not None
        case "prlimit":
            return shutil.which("prlimit") is not None


@cache
def gpus() -> int:
    """GPUs that torch can use. Asked in a process of its own: torch takes seconds to import, and opens them."""
    code = "import torch; print(torch.cuda.device_count())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return int(done.stdout) if done.returncode == 0 else 0


@cache
def _works(*command: str) -> bool:
    return shutil.which(command[0]) is not None and subprocess.run(command, capture_output=True).returncode == 0
