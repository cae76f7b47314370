"""What the devices of a row held and drew: peak memory, the part of it that does not depend on the batch, and energy.

Each function takes the runs of a row, the newest last. A GPU that several replicas share is one device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import mul
from typing import Literal

from common.analysis.reading.runs import Run
from common.analysis.statistics.estimates import Estimate, mean_of_runs
from common.records import METHODS, DeviceUse, Record

StaticPart = Literal["parameters_and_buffers", "gradients", "optimizer_state"]
GpuKey = tuple[str, int]
"""Host and index."""


@dataclass(frozen=True)
class PeakMemory:
    """One device (GPU), or one process (CPU)."""

    kind: Literal["device", "rank"]
    number: int
    peak_bytes: int
    """GPU: most in tensors at once, by torch's allocator. CPU: most resident in the process."""
    reserved_bytes: int | None
    process_bytes: int | None
    static: dict[StaticPart, int]
    """Bytes that are there whatever the batch: parameters, gradients, optimizer state."""

    @property
    def static_bytes(self) -> int | None:
        """All of the static part; None where it is not known."""
        return sum(self.static.values()) if self.static else None


def peaks_by_device(runs: Sequence[Run]) -> list[PeakMemory]:
    """Every device or process that reported a peak, device 0 first; over several runs the highest.

    On CPU a device whose process belongs to another entry (DataParallel: one process drives all replicas) has no peak
    of its own, and is left out.
    """
    newest = runs[-1].record
    on_gpu = newest.world.device_kind == "cuda"
    by_device = METHODS[newest.method].has_replicas and on_gpu
    highest: dict[tuple, tuple[int, DeviceUse, Record]] = {}
    for run in runs:
        for device in run.record.devices:
            peak = device.memory.peak_allocated_bytes if on_gpu else device.memory.peak_process_bytes
            key = (device.rank, *_gpu_key(newest, device))
            if peak is not None and (key not in highest or peak > highest[key][0]):
                highest[key] = (peak, device, run.record)
    return [
        PeakMemory(
            kind="device" if by_device else "rank",
            number=device.index if by_device else device.rank,
            peak_bytes=peak,
            reserved_bytes=device.memory.peak_reserved_bytes,
            process_bytes=device.memory.peak_process_bytes,
            static=_static(record, is_first=position == 0),
        )
        for position, (peak, device, record) in enumerate(highest.values())
    ]


def _gpu_key(newest: Record, device: DeviceUse) -> GpuKey:
    """A container has another name in each run; of several nodes the names are all that is known."""
    return newest.environment.hostname if newest.world.nodes == 1 else device.host, device.index


def _static(record: Record, is_first: bool) -> dict[StaticPart, int]:
    """DataParallel keeps gradients and optimizer state on device 0 alone; the others hold a copy of the model."""
    size = record.static_memory
    if size is None:
        return {}
    model: dict[StaticPart, int] = {"parameters_and_buffers": size.parameter_bytes + size.buffer_bytes}
    if METHODS[record.method].has_replicas and not is_first:
        return model
    return model | {"gradients": size.gradient_bytes, "optimizer_state": size.optimizer_state_bytes}


@dataclass(frozen=True)
class Energy:
    """What some GPUs drew over the measured epochs of some runs, by NVML's counters of whole GPUs."""

    joules: float
    epochs: float
    """Whole epochs' worth of samples."""
    samples: int
    idle_joules: float | None
    """What they would have drawn with nothing to do; None where the idle power is not known."""
    by_run: Sequence[float] = ()
    """Joules per sample of each run."""

    @property
    def joules_per_epoch(self) -> float:
        """Of all its devices together."""
        return self.joules / self.epochs

    @property
    def joules_per_thousand_samples(self) -> float:
        """Of all its devices together."""
        return 1000 * self.joules / self.samples

    @property
    def per_thousand(self) -> Estimate:
        """The same with its error, from the differences between runs; without one below three of them."""
        error = mean_of_runs([*map(Estimate, self.by_run)]) if len(self.by_run) > 2 else Estimate(0.0)
        return replace(error, value=self.joules_per_thousand_samples)

    @property
    def idle_share(self) -> float | None:
        """Idle watts × seconds / joules."""
        return self.idle_joules / self.joules if self.idle_joules is not None and self.joules else None


def energy_by_device(runs: Sequence[Run]) -> dict[GpuKey, Energy]:
    """Each GPU, over the runs that measured it: a ratio of sums, as throughput is."""
    counted: dict[GpuKey, list[tuple[Run, DeviceUse]]] = {}
    for run in runs:
        for key, device in _gpus(runs, run).items():
            if device.energy_joules is not None:
                counted.setdefault(key, []).append((run, device))
    return {key: _sum(measured) for key, measured in counted.items()}


def _gpus(runs: Sequence[Run], run: Run) -> dict[GpuKey, DeviceUse]:
    return {_gpu_key(runs[-1].record, device): device for device in run.record.devices}


def _sum(measured: Sequence[tuple[Run, DeviceUse]]) -> Energy:
    idle = [device.idle_watts for _, device in measured]
    seconds, samples = [sum(run.epoch_seconds) for run, _ in measured], sum(_samples(run) for run, _ in measured)
    whole_epoch = max(epoch.samples for run, _ in measured for epoch in run.record.epochs)
    return Energy(
        joules=sum(device.energy_joules for _, device in measured),
        epochs=samples / whole_epoch,
        samples=samples,
        idle_joules=None if None in idle else sum(map(mul, idle, seconds)),
    )


def total_energy(runs: Sequence[Run]) -> Energy | None:
    """All devices together; None where one of them was not measured, or not in every run that measured any."""
    parts = energy_by_device(runs)
    gpus = {key for run in runs for key in _gpus(runs, run)}
    if not parts or len(parts) < len(gpus) or len({part.samples for part in parts.values()}) > 1:
        return None
    first, *_ = parts.values()
    idle = [part.idle_joules for part in parts.values()]
    joules = [[device.energy_joules for device in _gpus(runs, run).values()] for run in runs]
    by_run = [sum(drawn) / _samples(run) for run, drawn in zip(runs, joules, strict=True) if None not in drawn]
    total = sum(part.joules for part in parts.values())
    return Energy(total, first.epochs, first.samples, None if None in idle else sum(idle), by_run)


def _samples(run: Run) -> int:
    return sum(epoch.samples for epoch in run.record.epochs)
