"""What was seen of each device of a run: memory, health, energy; and what a replica holds whatever the batch."""

from __future__ import annotations

import resource
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

from common.machine.devices import LocalDevices, capacity_bytes
from common.measuring.gpu_readings import GpuSampler
from common.records import DeviceMemory, DeviceUse, StaticMemory


def reset_peaks(devices: LocalDevices) -> None:
    """Start anew, on every device of this process (torch's own reset does the current one only).

    The process's peak on CPU is reset too where the kernel allows it (Linux).
    """
    if devices.kind == "cuda":
        for index in set(devices.indices):
            torch.cuda.reset_peak_memory_stats(index)
        return
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return  # the peak then covers the whole process from its start: larger, never smaller


def read_peaks(devices: LocalDevices, sampler: GpuSampler) -> list[DeviceMemory]:
    """Peaks since `reset_peaks`, in bytes, one entry per device of this process, in order.

    `sampler` knows what the driver saw this process hold on each GPU. On CPU one process holds the memory of all
    its replicas, and no part of it belongs to one core: the first entry has it, the others are empty.
    """
    if devices.kind == "cpu":
        others = [DeviceMemory()] * (len(devices.indices) - 1)
        return [DeviceMemory(peak_process_bytes=peak_resident_bytes()), *others]
    return [
        DeviceMemory(
            peak_allocated_bytes=torch.cuda.max_memory_allocated(index),
            peak_reserved_bytes=torch.cuda.max_memory_reserved(index),
            peak_process_bytes=sampler.peak_process_bytes(index),
        )
        for index in devices.indices
    ]


def highest_peak_bytes(devices: LocalDevices) -> int:
    """The highest peak of any device of this process, in bytes: allocated on a GPU, resident on CPU."""
    if devices.kind == "cpu":
        return peak_resident_bytes()
    return max(torch.cuda.max_memory_allocated(index) for index in devices.indices)


def peak_resident_bytes() -> int:
    """Peak resident set size of this process, in bytes, since its start or the last reset."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    except (OSError, IndexError):  # not Linux
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def static_memory(module: nn.Module, optimizer: torch.optim.Optimizer) -> StaticMemory:
    """What one replica holds between steps; call it after a step, when gradients and optimizer state exist."""
    parameters = list(module.parameters())
    state = [value for values in optimizer.state.values() for value in values.values() if torch.is_tensor(value)]
    return StaticMemory(
        parameters=sum(p.numel() for p in parameters),
        parameter_bytes=sum(p.nbytes for p in parameters),
        buffer_bytes=sum(b.nbytes for b in module.buffers()),
        gradient_bytes=sum(p.nbytes for p in parameters if p.requires_grad),
        optimizer_state_bytes=sum(tensor.nbytes for tensor in state),
    )


def device_uses(
    devices: LocalDevices,
    memories: Sequence[DeviceMemory] | None = None,
    sampler: GpuSampler | None = None,
    joules: Mapping[int, float] | None = None,
    idle_watts: Mapping[int, float] | None = None,
) -> list[DeviceUse]:
    """One entry for each of this process's devices, in order; what was not measured (yet) stays empty.

    `joules` (of the measured epochs) and `idle_watts` are by CUDA index.
    """
    joules, idle_watts = joules or {}, idle_watts or {}
    return [
        DeviceUse(
            host=socket.gethostname(),
            rank=devices.rank,
            index=devices.numbers[position],
            name=torch.cuda.get_device_name(index) if devices.kind == "cuda" else devices.world.device_model,
            capacity_bytes=capacity_bytes(devices.kind, index),
            memory=memories[position] if memories else DeviceMemory(),
            health=sampler.health(index) if sampler else None,
            # A GPU that several replicas share has one counter, entered once.
            energy_joules=joules.get(index) if position == devices.indices.index(index) else None,
            idle_watts=idle_watts.get(index),
        )
        for position, index in enumerate(devices.indices)
    ]
