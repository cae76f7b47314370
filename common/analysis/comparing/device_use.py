"""What the devices of a row held and drew: peak memory, the part of it that does not depend on the batch, and energy.

Each function takes the runs of a row, the newest last. A GPU that several replicas share is one device.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
    on_gpu, has_replicas = newest.world.device_kind == "cuda", METHODS[newest.method].has_replicas
    highest: dict[tuple, PeakMemory] = {}
    for run in runs:
        for device in run.record.devices:
            memory, key = device.memory, (device.rank, *_gpu_key(newest, device))
            peak = memory.peak_allocated_bytes if on_gpu else memory.peak_process_bytes
            if peak is not None and (key not in highest or peak > highest[key].peak_bytes):
                # DataParallel's first device holds what the others do not.
                holds_all = not has_replicas or key == next(iter(highest), key)
                highest[key] = PeakMemory(
                    kind="device" if has_replicas and on_gpu else "rank",
                    number=device.index if has_replicas and on_gpu else device.rank,
                    peak_bytes=peak,
                    reserved_bytes=memory.peak_reserved_bytes,
                    process_bytes=memory.peak_process_bytes,
                    static=_static(run.record, holds_all),
                )
    return list(highest.values())


def _gpu_key(newest: Record, device: DeviceUse) -> GpuKey:
    """A container has another name in each run; of several nodes the names are all that is known."""
    return newest.environment.hostname if newest.world.nodes == 1 else device.host, device.index


def _static(record: Record, holds_all: bool) -> dict[StaticPart, int]:
    """DataParallel keeps gradients and optimizer state on device 0 alone; the others hold a copy of the model."""
    if (size := record.static_memory) is None:
        return {}
    model: dict[StaticPart, int] = {"parameters_and_buffers": size.parameter_bytes + size.buffer_bytes}
    more: dict[StaticPart, int] = {"gradients": size.gradient_bytes, "optimizer_state": size.optimizer_state_bytes}
    return model | more if holds_all else model


@dataclass(frozen=True)
class Energy:
    """What some GPUs drew over the measured epochs of one or more runs, by NVML's counters of whole GPUs.

    Ratios of sums, as throughput is.
    """

    per_thousand: Estimate
    """Joules for a thousand samples, of all the devices; its error from the differences between three runs or more."""
    joules_per_epoch: float
    """For as many samples as a whole epoch has."""
    idle_share: float | None
    """Idle watts × seconds / joules; None where the idle power is not known."""


def energy_by_device(runs: Sequence[Run]) -> dict[GpuKey, Energy]:
    """Each GPU, over the runs that measured it."""
    keys = dict.fromkeys(_gpu_key(runs[-1].record, device) for run in runs for device in run.record.devices)
    return {key: energy for key in keys if (energy := energy_of(runs, key))}


def energy_of(runs: Sequence[Run], key: GpuKey | None = None) -> Energy | None:
    """Of one GPU, over the runs that measured it, or of all together; None where one of these was not measured in a run
    that measured any."""
    used: list[tuple[Run, list[DeviceUse]]] = []
    for run in runs:
        by_key: dict[GpuKey, DeviceUse] = {}
        for device in run.record.devices:  # of replicas that share a GPU the first, which has its counter
            by_key.setdefault(_gpu_key(runs[-1].record, device), device)
        gpus = [gpu for own_key, gpu in by_key.items() if key in (None, own_key)]
        are_measured = {gpu.energy_joules is not None for gpu in gpus}  # empty where the run was on other GPUs
        if are_measured == {True, False}:
            return None
        if are_measured == {True}:
            used.append((run, gpus))
    if not used:
        return None
    joules = [sum(gpu.energy_joules for gpu in gpus) for _, gpus in used]
    samples = [sum(epoch.samples for epoch in run.record.epochs) for run, _ in used]
    knows_idle = None not in [gpu.idle_watts for _, gpus in used for gpu in gpus]
    idle = [sum(gpu.idle_watts for gpu in gpus) * sum(run.epoch_seconds) for run, gpus in used if knows_idle]
    each = [Estimate(own / count) for own, count in zip(joules, samples, strict=True)]
    whole = sum(joules)
    per_thousand = 1000 * whole / sum(samples)
    epoch_samples = max(epoch.samples for run in runs for epoch in run.record.epochs)
    return Energy(
        per_thousand=replace(mean_of_runs(each) if len(each) > 2 else Estimate(0.0), value=per_thousand),
        joules_per_epoch=epoch_samples * per_thousand / 1000,
        idle_share=sum(idle) / whole if knows_idle and whole else None,
    )
