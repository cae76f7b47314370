"""Whole GPUs while they train: clock, temperature, what slows them, who else is there, memory, energy and power.

A slow run has its reasons outside the program, too: a GPU at its power cap, a hot one, somebody else's job on it. These
readings stand in the record beside the times that they explain. GPUs are named by their CUDA indices, as torch counts
them; one that NVML does not know, or that has no such reading, is left out.
"""

from __future__ import annotations

import os
import statistics
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch

from common.machine.nvml import THROTTLE_REASONS, Nvml, NvmlGpu, open_nvml
from common.records import GpuHealth


def idle_watts(indices: Iterable[int]) -> dict[int, float]:
    """Power of these GPUs at this moment: of idle ones, if it is asked for before anything runs."""
    return _read(indices, NvmlGpu.power_watts)


class EnergyMeter:
    """Energy that whole GPUs draw from the making of the meter until it is read, by NVML's own counter."""

    def __init__(self, indices: Iterable[int]) -> None:
        self._before = _read(indices, NvmlGpu.energy_joules)

    def joules(self) -> dict[int, float]:
        """Since the meter was made."""
        after = _read(self._before, NvmlGpu.energy_joules)
        return {index: joules - self._before[index] for index, joules in after.items()}


@dataclass
class _Readings:
    """What the sampler has seen of one GPU; None where a reading had no answer."""

    clocks: list[int | None] = field(default_factory=list)
    temperatures: list[int | None] = field(default_factory=list)
    reasons: set[str] = field(default_factory=set)
    process_bytes: list[int | None] = field(default_factory=list)
    other_processes: list[int] = field(default_factory=list)

    def health(self) -> GpuHealth:
        clocks = [clock for clock in self.clocks if clock is not None]
        return GpuHealth(
            samples=len(self.clocks),
            sm_clock_mhz_min=min(clocks, default=None),
            sm_clock_mhz_median=round(statistics.median(clocks)) if clocks else None,
            sm_clock_mhz_max=max(clocks, default=None),
            temperature_celsius_max=_peak(self.temperatures),
            throttle_reasons=[name for name in THROTTLE_REASONS.values() if name in self.reasons],
            other_processes=_peak(self.other_processes),
        )


class GpuSampler:
    """Watches GPUs about once a second from `start` to `stop` in a thread of its own.

    It neither synchronises with a GPU nor calls CUDA on one. Its handful of NVML calls a second leave the interpreter
    to the training thread, for ctypes gives up the GIL during each. Without NVML it has nothing to tell: both its
    answers are None.
    """

    def __init__(self, indices: Iterable[int], run_pids: Iterable[int] = (), interval_seconds: float = 1.0) -> None:
        """`run_pids`: the run's other processes, if they share a GPU."""
        self._indices = set(indices)
        self._pid = os.getpid()
        self._run_pids = {self._pid, *run_pids}
        self._interval = interval_seconds
        self._readings: dict[int, _Readings] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="gpu-sampler", daemon=True)

    def start(self) -> None:
        """Begin; the first sample is taken at once, so that even the shortest run has one."""
        if self._indices:
            self._thread.start()

    def stop(self) -> None:
        """End. Harmless if called twice, or without `start`."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)  # a driver that hangs must not hang the run

    def health(self, index: int) -> GpuHealth | None:
        """What was seen of this GPU; None where NVML does not know it."""
        readings = self._readings.get(index)
        return readings.health() if readings and readings.clocks else None

    def peak_process_bytes(self, index: int) -> int | None:
        """Most that this process was seen to hold on the GPU: tensors, cache, CUDA context and libraries."""
        readings = self._readings.get(index)
        return _peak(readings.process_bytes) if readings else None

    def _watch(self) -> None:
        with open_nvml() as nvml:
            gpus = _gpus(nvml, self._indices)
            while gpus:
                for index, gpu in gpus.items():
                    self._sample(gpu, self._readings.setdefault(index, _Readings()))
                if self._stopped.wait(self._interval):
                    return

    def _sample(self, gpu: NvmlGpu, seen: _Readings) -> None:
        seen.clocks.append(gpu.sm_clock_mhz())
        seen.temperatures.append(gpu.temperature_celsius())
        seen.reasons.update(gpu.throttle_reasons() or ())
        processes = gpu.process_bytes() or {}
        # In a container the driver may list the host's process ids. Then nobody can tell which of them is this one.
        if self._pid in processes:
            seen.process_bytes.append(processes[self._pid])
            seen.other_processes.append(len(processes.keys() - self._run_pids))


def _peak(values: Iterable[int | None]) -> int | None:
    return max((value for value in values if value is not None), default=None)


def _read(indices: Iterable[int], reading: Callable[[NvmlGpu], float | None]) -> dict[int, float]:
    if not indices:
        return {}
    with open_nvml() as nvml:
        values = {index: reading(gpu) for index, gpu in _gpus(nvml, indices).items()}
    return {index: value for index, value in values.items() if value is not None}


def _gpus(nvml: Nvml | None, indices: Iterable[int]) -> dict[int, NvmlGpu]:
    """Those that NVML knows."""
    known = {i: nvml.gpu_of_torch(torch.cuda.get_device_properties(i)) for i in set(indices)} if nvml else {}
    return {index: gpu for index, gpu in known.items() if gpu is not None}
