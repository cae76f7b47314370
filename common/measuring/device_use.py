"""What was seen of each device of this process: memory, health, energy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from common.machine.devices import LocalDevices, capacity_bytes
from common.measuring.gpu_readings import GpuSampler
from common.records import DeviceMemory, DeviceUse


def device_uses(
    devices: LocalDevices,
    host: str,
    memories: Sequence[DeviceMemory] | None = None,
    sampler: GpuSampler | None = None,
    joules: Mapping[int, float] | None = None,
    idle_watts: Mapping[int, float] | None = None,
) -> list[DeviceUse]:
    """One entry for each of the place's devices, in order; what was not measured (yet) stays empty.

    `joules` (of the measured epochs) and `idle_watts` are by CUDA index.
    """
    joules, idle_watts = joules or {}, idle_watts or {}
    return [
        DeviceUse(
            host=host,
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
