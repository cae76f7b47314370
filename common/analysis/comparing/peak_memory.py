"""Peak memory of every device of a row, and the part of it that does not depend on the batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pandas as pd

from common.records import METHODS, Method

StaticPart = Literal["parameters_and_buffers", "gradients", "optimizer_state"]
STATIC_PARTS: tuple[StaticPart, ...] = ("parameters_and_buffers", "gradients", "optimizer_state")


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


def peaks_by_device(table: pd.DataFrame, method: Method, on_gpu: bool) -> list[PeakMemory]:
    """Every device or process of a row that reported a peak, device 0 first; over several runs the highest.

    A GPU that several replicas share is listed once. On CPU a device whose process belongs to another entry
    (DataParallel: one process drives all replicas) has no peak of its own, and is left out.
    """
    peak = "peak_allocated_bytes" if on_gpu else "peak_process_bytes"
    known = table.dropna(subset=[peak]).reset_index()
    highest = known.loc[known.groupby(["host", "rank", "index"], sort=False)[peak].idxmax()]
    by_device = METHODS[method].has_replicas and on_gpu
    return [
        PeakMemory(
            kind="device" if by_device else "rank",
            number=int(line["index"] if by_device else line["rank"]),
            peak_bytes=int(line[peak]),
            reserved_bytes=_whole(line["peak_reserved_bytes"]),
            process_bytes=_whole(line["peak_process_bytes"]),
            static=_static(line, method, is_first=position == 0),
        )
        for position, line in enumerate(highest.to_dict("records"))
    ]


def _static(line: dict, method: Method, is_first: bool) -> dict[StaticPart, int]:
    """DataParallel keeps gradients and optimizer state on device 0 alone; the others hold a copy of the model."""
    if pd.isna(line["gradients_bytes"]):
        return {}
    parts = STATIC_PARTS[:1] if METHODS[method].has_replicas and not is_first else STATIC_PARTS
    return {part: int(line[f"{part}_bytes"]) for part in parts}


def _whole(size: float | None) -> int | None:
    return None if pd.isna(size) else int(size)
