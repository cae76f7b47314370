"""Energy and power of whole GPUs, by NVML."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch

from common.machine.nvml import NvmlGpu, open_nvml


class EnergyMeter:
    """Energy that whole GPUs draw from the making of the meter until it is read, by NVML's own counter."""

    def __init__(self, indices: Iterable[int]) -> None:
        """`indices`: CUDA indices, as torch counts them."""
        self._indices = sorted(set(indices))
        self._before = self._counters()

    def joules(self) -> dict[int, float]:
        """Since the meter was made, by CUDA index; without the GPUs that do not count."""
        after = self._counters()
        return {index: after[index] - before for index, before in self._before.items() if index in after}

    def _counters(self) -> dict[int, float]:
        return _read(self._indices, NvmlGpu.energy_joules)


def idle_watts(indices: Iterable[int]) -> dict[int, float]:
    """Power of these GPUs at this moment, by CUDA index: of idle ones, if it is asked for before anything runs."""
    return _read(sorted(set(indices)), NvmlGpu.power_watts)


def _read(indices: list[int], reading: Callable[[NvmlGpu], float | None]) -> dict[int, float]:
    if not indices:
        return {}
    with open_nvml() as nvml:
        gpus = {index: nvml.gpu_of_torch(torch.cuda.get_device_properties(index)) for index in indices} if nvml else {}
        values = {index: reading(gpu) for index, gpu in gpus.items() if gpu is not None}
    return {index: value for index, value in values.items() if value is not None}
