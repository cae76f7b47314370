"""The table that the published exercise prints, with the reader's own rows of the same shape beside it.

Nobody measured anything against these figures: they are illustrative, and the page says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from common.analysis.comparing.groups import Group
from common.analysis.comparing.rows import Row
from common.analysis.judging.cells import estimate_cell, ratio_cell
from common.content import (
    NOTHING,
    Cell,
    Line,
    Lines,
    Message,
    Paragraph,
    Section,
    Table,
    columns,
    lead,
    message,
    not_available,
)
from common.records import Method

SHAPE = {"model": "resnet50", "image_size_px": 224, "per_device_batch_size": 64}


@dataclass(frozen=True)
class PublishedRow:
    """One row as it is printed."""

    method: Method
    devices: int
    global_batch: int
    epoch_seconds: float
    memory: str
    throughput: float
    """samples/s"""
    efficiency: float | None


ROWS = (
    PublishedRow("single", 1, 64, 120.5, "3.2 GB", 425, None),
    PublishedRow("dp", 4, 256, 85.2, "7.8 GB / 4.1 GB", 1205, 0.71),
    PublishedRow("ddp", 4, 256, 32.1, "3.4 GB", 1598, 0.94),
)


def published_section(groups: Sequence[Group]) -> Section:
    """The published rows; columns of the reader's own stand beside them where a run has the shape of one."""
    own = [row for group in groups if group.scaling == "weak" and SHAPE.items() <= group.key.items()
           for row in group.main_rows if row.is_valid and row.true_devices]  # fmt: skip
    pairs = [(row, next((one for one in own if (one.method, one.devices) == (row.method, row.devices)), None))
             for row in ROWS]  # fmt: skip
    has_own = any(one for _, one in pairs)
    shown = columns(
        ("method", "method"),
        ("global_batch", "global-batch"),
        ("epoch_time", "epoch-time"),
        ("memory_published", "memory"),
        *([("memory_here", "memory")] if has_own else []),
        ("throughput_published", "throughput"),
        *([("throughput_here", "throughput")] if has_own else []),
        ("efficiency_published", "scaling-efficiency"),
        *([("efficiency_here", "scaling-efficiency")] if has_own else []),
    )
    lines = [Line(_cells(row, one, has_own), row.method) for row, one in pairs]
    differs = _differs(own, pairs)
    contents = [
        lead(message("page.published_lead")),
        Table("published", shown, lines),
        *([Lines(differs)] if differs else []),
        Paragraph([message("page.published_care")]),
        Lines([message(f"published_care.{name}") for name in ("epoch", "throughput", "memory")]),
    ]
    short = message("table.published")
    return Section("published", message("page.published"), contents, short=short, style="published")


def _cells(row: PublishedRow, own: Row | None, has_own: bool) -> list[Cell]:
    absent = not_available(message("note.not_run_here"))
    speed, memory, efficiency = absent, absent, absent
    if own:
        peaks = [peak.peak_bytes for peak in own.memory]
        memory = Cell(peaks[0], "GiB", beside=peaks[1] if peaks[1:] else None) if peaks else absent
        speed = estimate_cell(own.throughput, "samples/s")
        efficiency = ratio_cell(own.efficiency, "%") if own.efficiency else NOTHING
    return [
        Cell(message(f"published_row.{row.method}", devices=row.devices)),
        Cell(row.global_batch, "count"),
        Cell(f"{row.epoch_seconds} s"),
        Cell(row.memory),
        *([memory] if has_own else []),
        Cell(row.throughput, "samples/s"),
        *([speed] if has_own else []),
        Cell(row.efficiency, "%") if row.efficiency else NOTHING,
        *([efficiency] if has_own else []),
    ]


def _differs(own: list[Row], pairs: list[tuple[PublishedRow, Row | None]]) -> list[Message]:
    """The single device's speed; every method's efficiency, whatever the number of devices."""
    found = []
    published, one = pairs[0]
    if one:
        found.append(message("published.one_device", ratio=one.throughput.value / published.throughput,
                             device=one.record.world.device_model, precision=one.record.config.precision))  # fmt: skip
    for published, same in pairs[1:]:
        row = same or next((row for row in own if row.method == published.method and row.efficiency), None)
        if row and row.efficiency:
            found.append(message("published.efficiency", row=row.name, here=row.efficiency,
                                 there=published.efficiency, devices=published.devices))  # fmt: skip
    return found
