"""Peak memory of every device of a row, and the part of it that does not depend on the batch."""

from __future__ import annotations

from dataclasses import dataclass

from common.analysis.comparing.groups import Row


@dataclass(frozen=True)
class PeakMemory:
    """One device (GPU), or one process (CPU)."""

    label: str
    peak_bytes: int
    """GPU: most in tensors at once, by torch's allocator. CPU: most resident in the process."""
    reserved_bytes: int | None
    process_bytes: int | None
    static: dict[str, int]
    """Bytes that are there whatever the batch: parameters, gradients, optimizer state."""

    @property
    def static_bytes(self) -> int | None:
        """All of the static part; None where it is not known."""
        return sum(self.static.values()) if self.static else None


def memory_of(row: Row) -> list[PeakMemory]:
    """Every device or process that reported a peak, device 0 first; over several runs the highest.

    A GPU that several replicas share is listed once. On CPU a device whose process belongs to another entry
    (DataParallel: one process drives all replicas) has no peak of its own, and is left out.
    """
    on_gpu = row.record.world.device_kind == "cuda"
    peaks: dict[tuple, PeakMemory] = {}
    for run in row.runs:
        for device in run.record.devices:
            memory = device.memory
            peak = memory.peak_allocated_bytes if on_gpu else memory.peak_process_bytes
            place = (device.host, device.rank, device.index)
            if peak is None or (place in peaks and peaks[place].peak_bytes >= peak):
                continue
            label = f"device {device.index}" if row.method == "dp" and on_gpu else f"rank {device.rank}"
            static = _static(row, is_first=not peaks or next(iter(peaks)) == place)
            peaks[place] = PeakMemory(label, peak, memory.peak_reserved_bytes, memory.peak_process_bytes, static)
    return list(peaks.values())


def _static(row: Row, is_first: bool) -> dict[str, int]:
    """DataParallel keeps gradients and optimizer state on device 0 alone; the others hold a copy of the model."""
    sizes = row.record.static_memory
    if sizes is None:
        return {}
    parameters = {"parameters and buffers": sizes.parameter_bytes + sizes.buffer_bytes}
    if row.method == "dp" and not is_first:
        return parameters
    return parameters | {"gradients": sizes.gradient_bytes, "optimizer state": sizes.optimizer_state_bytes}
