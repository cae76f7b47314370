"""The page of the exercise: its five checkpoints, and the table that it prints, with the reader's own rows beside it.

Nobody measured anything against the printed figures: they are illustrative, and the page says so.
"""

from collections.abc import Sequence
from typing import NamedTuple

from common.analysis.comparing.groups import Group
from common.analysis.comparing.rows import Row
from common.analysis.sections.checkpoints import alone, choice, difference, optimising, recognised
from common.analysis.sections.comparison import estimate_cell, ratio_cell
from common.analysis.sections.evidence import Checkpoint, Evidence
from common.analysis.sections.report import Report
from common.content import NOTHING, Cell, Column, Line, Lines, Paragraph, Section, Table, not_available, opening
from common.messages import message
from common.records import Method

SHAPE = {"model": "resnet50", "image_size_px": 224, "per_device_batch_size": 64}


class PublishedRow(NamedTuple):
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


def exercise_sections(report: Report) -> list[Section]:
    """The checkpoints, where there is a run, and the published table."""
    parts = [checkpoint.section(number) for number, checkpoint in enumerate(five_checkpoints(report), start=1)]
    contents = [opening(message("page.checkpoints_lead")), *parts]
    checkpoints = Section("checkpoints", message("page.checkpoints"), contents, style="group")
    return [*([checkpoints] if parts else []), published_section([results.group for results in report.groups])]


def five_checkpoints(report: Report) -> list[Checkpoint]:
    """All of them, in the order of the exercise; none where there is no run to take settings from."""
    order = (difference, alone, recognised, choice, optimising)
    return [checkpoint(Evidence(report)) for checkpoint in order] if report.folder.runs else []


def published_section(groups: Sequence[Group]) -> Section:
    """The published rows; columns of the reader's own are beside them where a run has the shape of one. Below them:
    the single device's speed; every method's efficiency, whatever the number of devices."""
    own = [row for group in groups if group.scaling == "weak" and SHAPE.items() <= group.key.items()
           for row in group.main_rows if row.is_valid and row.true_devices]  # fmt: skip
    of_shape = {(row.method, row.devices): row for row in reversed(own)}
    pairs = [(row, of_shape.get((row.method, row.devices))) for row in ROWS]
    cells = [_cells(*pair) for pair in pairs]
    shown = [column for column in cells[0] if any(one for _, one in pairs) or not column.id.endswith("_here")]
    lines = [Line([of_row[column] for column in shown], row.method) for row, of_row in zip(ROWS, cells, strict=True)]
    differs = []
    for published, same in pairs:
        row = same or next((row for row in own if row.method == published.method and row.efficiency), None)
        if published.devices > 1 and row and row.efficiency:
            differs.append(message("published.efficiency", row=row.name, here=row.efficiency,
                                   there=published.efficiency, devices=published.devices))  # fmt: skip
        elif published.devices == 1 and same:
            ratio, record = same.throughput.value / published.throughput, same.record
            differs.append(message("published.one_device", ratio=ratio, device=record.world.device_model,
                                   precision=record.config.precision))  # fmt: skip
    contents = [
        opening(message("page.published_lead")),
        Table("published", shown, lines),
        Lines(differs) if differs else None,
        Paragraph([message("page.published_care")]),
        Lines([message(f"published_care.{name}") for name in ("epoch", "throughput", "memory")]),
    ]
    short = message("table.published")
    return Section("published", message("page.published"), contents, short=short, style="published")


def _cells(row: PublishedRow, own: Row | None) -> dict[Column, Cell]:
    speed = memory = efficiency = not_available(message("note.not_run_here"))
    if own:
        peaks = [peak.peak_bytes for peak in own.memory]
        memory = Cell(peaks[0], "GiB", beside=peaks[1] if peaks[1:] else None) if peaks else memory
        speed = estimate_cell(own.throughput, "samples/s")
        efficiency = ratio_cell(own.efficiency, "%") if own.efficiency else NOTHING
    return {
        Column("method", "method"): Cell(message(f"published_row.{row.method}", devices=row.devices)),
        Column("global_batch", "global-batch"): Cell(row.global_batch, "count"),
        Column("epoch_time", "epoch-time"): Cell(f"{row.epoch_seconds} s"),
        Column("memory_published", "memory"): Cell(row.memory),
        Column("memory_here", "memory"): memory,
        Column("throughput_published", "throughput"): Cell(row.throughput, "samples/s"),
        Column("throughput_here", "throughput"): speed,
        Column("efficiency_published", "scaling-efficiency"): Cell(row.efficiency, "%") if row.efficiency else NOTHING,
        Column("efficiency_here", "scaling-efficiency"): efficiency,
    }
