"""Tells this machine from others, without telling anybody which one it is."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from common.machine.nvml import Nvml
from common.records import machine_of_gpus, machine_of_host

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


def machine_identity(nvml: Nvml | None, cpu_model: str) -> str | None:
    """A hash of the UUIDs of all GPUs that the driver knows, hidden from torch or not; without GPUs one of the
    machine's id and CPU; None where neither can be read. Never raises.

    In a container /etc/machine-id is missing, empty, or the image's, the same on every host that runs it: there the
    boot id of the host's kernel stands for it, as where a host has no machine id. Runs before and after a restart are
    then runs of two machines, which parts too much and pools nothing that is not alike.
    """
    uuids = [gpu.uuid() for gpu in nvml.gpus()] if nvml else []
    if uuids and all(uuids):
        return machine_of_gpus(filter(None, uuids))
    id = ("" if is_container() else _read(MACHINE_ID)) or _read(BOOT_ID)
    return machine_of_host(id, cpu_model) if id else None


def is_container() -> bool:
    """By the file that Docker or podman leaves, by the control group's name, or by a root made of layers."""
    marked = any(map(os.path.exists, CONTAINER_FILES))
    return marked or bool(IN_A_CONTAINER.search(_read(CGROUP)) or ON_LAYERS.search(_read(MOUNTS)))


def _read(path: Path) -> str:
    """Nothing where it cannot be read, or where systemd has not yet filled it in."""
    with suppress(OSError, ValueError):
        text = path.read_text().strip()
        return "" if text == "uninitialized" else text
    return ""
