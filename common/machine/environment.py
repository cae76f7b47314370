"""What this host is: versions, processor, GPUs, and the limits that training meets.

Nothing here raises: a part that cannot be read is None (or empty). A missing line in a record is a small loss, a run
that dies over its own description is not.
"""

import os
import platform
import re
import resource
import secrets
import shutil
import socket
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist

from common.command_line.commands import loopback_is_up, name_is_found, slowing_variables, steering_variables
from common.machine.before_torch import core_kinds, cpu_cores, cpu_model, cpu_quota, physical_cores, ram_bytes, text_of
from common.machine.libraries import cudnn_version, import_torchvision, torchvision_version
from common.machine.nvml import Nvml, open_nvml
from common.records import CoreKind, Environment, EnvironmentRecord, Gpu, machine_hash

T = TypeVar("T")
RENDEZVOUS_PORT = 29500
"""Where torchrun without `--standalone` lets the ranks meet."""
MACHINE_ID = Path("/etc/machine-id")
"""Of an installation (systemd, machine-id(5)): it survives a restart."""
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
"""Of a running kernel (random(4)): all containers of a host share it, and a restart changes it."""
CONTAINER_FILES = (Path("/.dockerenv"), Path("/run/.containerenv"))
"""Docker and podman put one into each container."""
CGROUP = Path("/proc/self/cgroup")
MOUNTS = Path("/proc/self/mounts")
IN_A_CONTAINER = re.compile(r"docker|kubepods|containerd|libpod|lxc|garden")
"""In the name of a container's control group."""
ON_LAYERS = re.compile(r"^\S+ / (overlay|aufs) ", re.MULTILINE)
"""A root that is put together from layers, as an image's is."""


def describe() -> Environment:
    """Software and hardware of this host, in well under a second. Creates no CUDA context on any GPU."""
    with open_nvml() as nvml:
        return Environment(
            hostname=socket.gethostname(),
            machine=_attempt(lambda: machine_identity([gpu.uuid() for gpu in nvml.gpus()], cpu_model())),
            platform=platform.platform(),
            python=platform.python_version(),
            interpreter_lock=getattr(sys, "_is_gil_enabled", lambda: True)(),  # before 3.13 there was always one
            torch=torch.__version__,
            torchvision=_attempt(torchvision_version) or _attempt(lambda: metadata.version("torchvision")),
            cuda=torch.version.cuda,
            driver=nvml.driver(),
            cudnn=_attempt(cudnn_version),
            nccl=_attempt(lambda: ".".join(map(str, torch.cuda.nccl.version()))),
            cpu_model=cpu_model(),
            cpu_cores=cpu_cores(),
            physical_cores=physical_cores(),
            core_kinds=[
                CoreKind(name=name, cores=len(cores), physical_cores=physical_cores(cores))
                for name, cores in (_attempt(core_kinds) or {}).items()
            ],
            cpu_quota=cpu_quota(),
            ram_bytes=_attempt(ram_bytes),
            load_average_1min=_attempt(lambda: os.getloadavg()[0]),
            gpus=_attempt(lambda: [_gpu(index, nvml) for index in range(torch.cuda.device_count())]) or [],
            variables=steering_variables(),
        )


def look_around(command: str, results_dir: Path) -> EnvironmentRecord:
    """What step 01 records, its requirements still empty: this host, and what training will meet on it."""
    now = datetime.now(UTC)
    with open_nvml() as nvml:  # before torch touches a GPU, lest this process be counted among the others
        known = nvml.gpus()
        names = [gpu.name() or "unknown" for gpu in known]
        capabilities = [capability for gpu in known if (capability := gpu.compute_capability())]
        processes = {gpu.uuid(): gpu.process_bytes() for gpu in known}
    environment = describe()
    gpus, may_read = range(len(environment.gpus)), torch.cuda.can_device_access_peer
    return EnvironmentRecord(
        run_id=f"01_environment-{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}",
        command=command,
        started_at=now.isoformat(timespec="seconds"),
        environment=environment,
        # Directly, and not only through the host's memory.
        peer_access=_attempt(lambda: [[i == j or may_read(i, j) for j in gpus] for i in gpus]) or [],
        shared_memory_bytes=_attempt(lambda: shutil.disk_usage("/dev/shm").total),
        open_files_limit=_attempt(open_files_limit),
        own_name_found=name_is_found(),
        slowing_variables=[setting for _, setting in slowing_variables(in_ranks=True)],
        loopback_up=loopback_is_up(),
        rendezvous_port_free=port_is_free(RENDEZVOUS_PORT),
        backends=_attempt(lambda: [name for name in ("nccl", "gloo") if dist.is_backend_available(name)]) or [],
        driver_gpus=names,
        driver_capabilities=capabilities,
        torch_architectures=_attempt(torch.cuda.get_arch_list) or [],
        gpu_processes=[_attempt(lambda: len(processes[gpu.uuid])) for gpu in environment.gpus],  # noqa: B023
        cuda_visible_devices=os.environ.get("CUDA_VISIBLE_DEVICES"),
        cuda_error=_error_of(torch.cuda.init) if names and torch.version.cuda and not environment.gpus else None,
        torchvision_error=_error_of(import_torchvision),
        disk_free_bytes=_attempt(lambda: shutil.disk_usage(results_dir).free),
    )


def machine_identity(gpu_uuids: list[str | None], cpu_model: str) -> str | None:
    """A hash of the UUIDs of all GPUs that the driver knows, hidden from torch or not; without GPUs one of the
    machine's id and CPU; None where neither can be read.

    In a container /etc/machine-id is missing, empty, or the image's, the same on every host that runs it: there the
    boot id of the host's kernel stands for it, as where a host has no machine id. Runs before and after a restart are
    then runs of two machines, which parts too much and pools nothing that is not alike.
    """
    if gpu_uuids and all(gpu_uuids):
        return machine_hash("gpus", *sorted(filter(None, gpu_uuids)))
    signs = [IN_A_CONTAINER.search(text_of(CGROUP)), ON_LAYERS.search(text_of(MOUNTS))]
    id = text_of(MACHINE_ID).strip()
    if any(signs) or any(map(os.path.exists, CONTAINER_FILES)) or id in ("", "uninitialized"):  # as systemd leaves it
        id = text_of(BOOT_ID).strip()
    return machine_hash("host", id, cpu_model) if id else None


def open_files_limit() -> int | None:
    """Files and sockets that this process may hold open at once; None if there is no limit."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def port_is_free(port: int) -> bool:
    """Whether a server could listen on this TCP port now, even if a run has just left it (SO_REUSEADDR)."""
    return _error_of(lambda: socket.create_server(("", port)).close()) is None


def _gpu(index: int, nvml: Nvml) -> Gpu:
    properties = torch.cuda.get_device_properties(index)
    driver = nvml.gpu_of_torch(properties)
    return Gpu(
        index=index,
        name=properties.name,
        compute_capability=f"{properties.major}.{properties.minor}",
        memory_total_bytes=properties.total_memory,
        uuid=driver.uuid() if driver else None,
        # Not torch.cuda.mem_get_info: it would put a CUDA context of some 500 MB on every GPU it asks.
        memory_free_bytes=driver.free_bytes() if driver else None,
        pcie_generation=driver.pcie_generation() if driver else None,
        pcie_width=driver.pcie_width() if driver else None,
        nvlink_links=driver.nvlink_links() if driver else None,
    )


def _error_of(action: Callable[[], object]) -> str | None:
    """The first line of what `action` raises, None if it works."""
    try:
        action()
    except Exception as error:
        return str(error).strip().partition("\n")[0] or type(error).__name__
    return None


def _attempt(read: Callable[[], T]) -> T | None:
    """What `read` returns, or None if it raises anything: see the head of this file."""
    try:
        return read()
    except Exception:
        return None
