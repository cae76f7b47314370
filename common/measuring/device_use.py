"""What was seen of each device of a run: memory, health, energy; and what a replica holds whatever the batch.

A slow run has its reasons outside the program, too: a GPU at its power cap, a hot one, somebody else's job on it. GPUs
are named by their CUDA indices, as torch counts them; one that NVML does not know, or that has no such reading, is left
out.
"""

import os
import resource
import socket
import statistics
import sys
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from common.machine.before_torch import ram_bytes
from common.machine.devices import LocalDevices
from common.machine.nvml import THROTTLE_REASONS, Nvml, NvmlGpu, open_nvml
from common.records import DeviceMemory, DeviceUse, GpuHealth, StaticMemory


def read_gpus(indices: Iterable[int], reading: Callable[[NvmlGpu], float | None]) -> dict[int, float]:
    """A reading of each of these GPUs at this moment, of those that have it; without NVML, of none."""
    if not indices:
        return {}
    with open_nvml() as nvml:
        gpus = _gpus(nvml, indices).items()
        return {index: value for index, gpu in gpus if (value := reading(gpu)) is not None}


class _Readings(NamedTuple):
    """What NVML says of one GPU at one moment; None where a reading has no answer."""

    clock: int | None
    temperature: int | None
    reasons: Collection[str]
    process_bytes: dict[int, int | None]
    """By process; in a container perhaps by the host's process ids, and nobody can tell which of them is this one."""


class GpuSampler:
    """Watches GPUs about once a second from `start` to `stop` in a thread of its own.

    It neither synchronises with a GPU nor calls CUDA on one. Its handful of NVML calls a second leave the interpreter
    to the training thread, for ctypes gives up the GIL during each. Without NVML it has nothing to tell: both its
    answers are None.
    """

    def __init__(self, indices: Iterable[int], run_pids: Iterable[int] = (), interval_seconds: float = 1.0) -> None:
        """`run_pids`: the run's other processes, if they share a GPU."""
        self._pid, self._run_pids = os.getpid(), {os.getpid(), *run_pids}
        self._interval = interval_seconds
        self._samples: dict[int, list[_Readings]] = {index: [] for index in indices}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="gpu-sampler", daemon=True)

    def start(self) -> None:
        """Begin; the first sample is taken at once, so that even the shortest run has one."""
        if self._samples:
            self._thread.start()

    def stop(self) -> None:
        """End. Harmless if called twice, or without `start`."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)  # a driver that hangs must not hang the run

    def health(self, index: int) -> GpuHealth | None:
        """What was seen of this GPU; None where NVML does not know it."""
        samples = self._samples.get(index)
        if not samples:
            return None
        reasons = {reason for one in samples for reason in one.reasons}
        clocks = [one.clock for one in samples if one.clock is not None]
        processes = [one.process_bytes.keys() for one in samples if self._pid in one.process_bytes]
        return GpuHealth(
            samples=len(samples),
            sm_clock_mhz_min=min(clocks, default=None),
            sm_clock_mhz_median=round(statistics.median(clocks)) if clocks else None,
            sm_clock_mhz_max=max(clocks, default=None),
            temperature_celsius_max=_peak(one.temperature for one in samples),
            throttle_reasons=[name for name in THROTTLE_REASONS.values() if name in reasons],
            other_processes=max((len(pids - self._run_pids) for pids in processes), default=None),
        )

    def peak_process_bytes(self, index: int) -> int | None:
        """Most that this process was seen to hold on the GPU: tensors, cache, CUDA context and libraries."""
        return _peak(one.process_bytes.get(self._pid) for one in self._samples.get(index, ()))

    def _watch(self) -> None:
        with open_nvml() as nvml:
            gpus = _gpus(nvml, self._samples)
            while gpus:
                for index, gpu in gpus.items():
                    reasons, processes = gpu.throttle_reasons() or (), gpu.process_bytes() or {}
                    self._samples[index].append(
                        _Readings(gpu.sm_clock_mhz(), gpu.temperature_celsius(), reasons, processes)
                    )
                if self._stopped.wait(self._interval):
                    return


def _peak(values: Iterable[int | None]) -> int | None:
    return max((value for value in values if value is not None), default=None)


def _gpus(nvml: Nvml, indices: Iterable[int]) -> dict[int, NvmlGpu]:
    """Those that NVML knows."""
    known = {i: nvml.gpu_of_torch(torch.cuda.get_device_properties(i)) for i in set(indices)} if nvml.gpus() else {}
    return {index: gpu for index, gpu in known.items() if gpu is not None}


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


class DeviceMeter:
    """What the devices of this process hold and draw, from `start` to `stop`."""

    def __init__(self, devices: LocalDevices, run_pids: Iterable[int] = ()) -> None:
        """`run_pids`: the run's processes. To be made while nothing runs on the devices yet."""
        self._local_devices = devices
        self._gpus = devices.indices if devices.kind == "cuda" else ()
        self._idle_watts = read_gpus(self._gpus, NvmlGpu.power_watts)
        self._joules: Counter[int] = Counter()
        self._sampler = GpuSampler(self._gpus, run_pids)
        self._peaks = [DeviceMemory()] * len(devices.indices)

    def start(self, keep_peaks: bool) -> None:
        """Begin to watch. On GPUs, memory's peaks are those of before if they are kept."""
        if self._local_devices.kind == "cpu":
            with suppress(OSError):  # the peak then covers the whole process from its start: larger, never smaller
                Path("/proc/self/clear_refs").write_text("5")
        elif not keep_peaks:
            for index in set(self._gpus):  # torch's own reset does the current device only
                torch.cuda.reset_peak_memory_stats(index)
        self._sampler.start()

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """While open, the energy that is drawn counts."""
        before = read_gpus(self._gpus, NvmlGpu.energy_joules)
        yield
        after = read_gpus(before, NvmlGpu.energy_joules)
        self._joules.update({index: joules - before[index] for index, joules in after.items()})

    def peaks(self) -> list[DeviceMemory]:
        """Of memory, in bytes, by device; on CPU cores the first has that of the whole process, the others none."""
        if self._local_devices.kind == "cpu":
            return [DeviceMemory(peak_process_bytes=peak_resident_bytes()), *self._peaks[1:]]
        return [
            DeviceMemory(
                peak_allocated_bytes=torch.cuda.max_memory_allocated(index),
                peak_reserved_bytes=torch.cuda.max_memory_reserved(index),
                peak_process_bytes=self._sampler.peak_process_bytes(index),  # as the driver saw it
            )
            for index in self._gpus
        ]

    def stop(self) -> None:
        """End."""
        self._sampler.stop()
        self._peaks = self.peaks()

    def uses(self) -> list[DeviceUse]:
        """One entry for each of this process's devices, in order; what was not measured (yet) stays empty."""
        devices, on_gpus = self._local_devices, self._local_devices.kind == "cuda"
        return [
            DeviceUse(
                host=socket.gethostname(),
                rank=devices.rank,
                index=devices.numbers[position],
                name=torch.cuda.get_device_name(index) if on_gpus else devices.world.device_model,
                # All cores share the host's memory.
                capacity_bytes=torch.cuda.get_device_properties(index).total_memory if on_gpus else ram_bytes(),
                memory=self._peaks[position],
                health=self._sampler.health(index),
                # A GPU that several replicas share has one counter, entered once.
                energy_joules=self._joules.get(index) if position == devices.indices.index(index) else None,
                idle_watts=self._idle_watts.get(index),
            )
            for position, index in enumerate(devices.indices)
        ]
