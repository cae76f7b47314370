"""Environment variables that change speed without any flag: recorded as they were set, and named where they slow.

Those that steer NCCL and gloo stand in `World.transport`. Imports no torch.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from common.command_line.streams import tell
from common.sentences import Sentences

STEERING = (
    "ATEN_", "CUBLAS_", "CUDA_DEVICE_MAX_CONNECTIONS", "CUDA_LAUNCH_BLOCKING", "CUDNN_", "DNNL_", "GOMP_", "HIP_LAUNCH",
    "HSA_", "KMP_", "LD_PRELOAD", "MALLOC_", "MIOPEN_", "MKL_", "NVIDIA_TF32_OVERRIDE", "OMP_", "ONEDNN_",
    "PYTHONDEVMODE", "PYTHONMALLOC", "PYTORCH_ALLOC", "PYTORCH_CUDA_ALLOC", "PYTORCH_HIP_ALLOC",
    "PYTORCH_NO_CUDA_MEMORY", "PYTORCH_TUNABLEOP", "TORCHDYNAMO_", "TORCHINDUCTOR_", "TORCH_ALLOW_TF32", "TORCH_BLAS",
    "TORCH_COMPILE", "TORCH_CUDNN", "TORCH_DISTRIBUTED_DEBUG", "TORCH_NCCL_",
)  # fmt: skip
"""How their names begin."""
OF_OTHERS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TORCH_NCCL_ASYNC_ERROR_HANDLING")
"""Set by torchrun, or overruled: a device is one thread, and `World.threads_per_device` says so."""
OFF = ("", "0", "false", "no", "off", "default")
BINDING = ("OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY")
"""By them OpenMP binds the thread that loads torch to one core."""
SLOWING = ("CUDA_LAUNCH_BLOCKING", "PYTHONDEVMODE", "PYTORCH_NO_CUDA_MEMORY_CACHING", "TORCH_NCCL_BLOCKING_WAIT")
"""Help to find faults, and slow every step."""


def steering_variables(environment: Mapping[str, str] = os.environ) -> str:
    """What is set of them, by name: `CUDA_LAUNCH_BLOCKING=1 ONEDNN_VERBOSE=0`."""
    names = sorted(name for name in environment if name.startswith(STEERING) and name not in OF_OTHERS)
    return " ".join(
        f"{name}={environment[name]}"
        for name in names
        # The lab sets the first for --deterministic; where compiled code lies changes no step.
        if (name, environment[name]) != ("CUBLAS_WORKSPACE_CONFIG", ":4096:8") and not name.endswith("_CACHE_DIR")
    )


def slowing_variables(in_ranks: bool, environment: Mapping[str, str] = os.environ) -> list[tuple[str, str]]:
    """Those that spoil what is measured, as (id of a sentence about it, `NAME=value`); `in_ranks`: under torchrun."""
    found = [("slows", name) for name in SLOWING if environment.get(name, "0").lower() not in OFF]
    detail = environment.get("TORCH_DISTRIBUTED_DEBUG", "OFF").upper()
    if in_ranks and detail != "OFF":
        found.append(("detail" if detail == "DETAIL" else "slows", "TORCH_DISTRIBUTED_DEBUG"))
    if in_ranks:
        found += [("binds", name) for name in BINDING if environment.get(name, "").lower() not in OFF]
    return [(id, f"{name}={environment[name]}") for id, name in found]


def warn_of_variables(words: Sentences, in_ranks: bool) -> None:
    """Say on stderr what is set that spoils the numbers, and, where torch itself ends by it, before it does."""
    for id, setting in slowing_variables(in_ranks):
        tell(words.say(f"variable.{id}", setting=setting, name=setting.partition("=")[0]))
