"""Tables of single topics, a line for each row: DDP's options, memory of every device, validation accuracy."""

from __future__ import annotations

from common.analysis.comparing.groups import Group
from common.analysis.judging.cells import NOTHING, WITHHELD, Cell, Line, Table, columns, not_available, ratio_cell
from common.analysis.judging.comparison_cells import Checks, runs_note, speed_cell
from common.analysis.judging.options_effect import Effect, by_standard
from common.analysis.judging.row_checks import troubles
from common.content.messages import message

MAX_LINES = 48


def options_table(found: list[Effect], checks: Checks) -> Table | None:
    """The default rows, each followed by the rows that are compared with it; None where there are no such rows."""
    if not found:
        return None
    shown = columns(("options", "ddp-options"), ("throughput", "throughput"), ("against_defaults", "ddp-options"),
                    ("effect", "ddp-options"), ("memory_difference", "memory"))  # fmt: skip
    lines = []
    for standard, tried in by_standard(found[:MAX_LINES]).items():
        head = Cell(message("cell.defaults"), notes=(message("note.plain", text=standard.name), runs_note(standard)))
        speed = speed_cell(standard, troubles(checks[standard], "speed"))
        lines.append(Line([head, speed, NOTHING, NOTHING, NOTHING], standard.method, standard.name))
        lines += [Line(_effect_cells(effect, checks), effect.row.method, effect.row.name) for effect in tried]
    return Table("options", shown, lines, hint=message("hint.options"))


def _effect_cells(effect: Effect, checks: Checks) -> list[Cell]:
    row = effect.row
    return [
        Cell(row.name.options, notes=(runs_note(row),)),
        speed_cell(row, troubles(checks[row], "speed")),
        ratio_cell(effect.quotient, "×") if effect.quotient else WITHHELD,
        Cell(message(f"outcome.{effect.outcome}")),
        not_available() if effect.bytes_more is None else Cell(effect.bytes_more, "±GiB"),
    ]


def memory_table(group: Group) -> Table | None:
    """Every device or process; None where no peak is known."""
    place = ("memory_device", "devices") if group.on_gpu else ("memory_process", "devices")
    measured = [("peak_in_tensors", "memory"), ("peak_reserved", "memory")] if group.on_gpu else []
    process = ("process_nvml", "memory") if group.on_gpu else ("peak_resident", "memory")
    lines = []
    for row in group.rows[:MAX_LINES]:
        for peak in row.memory:
            sizes = [peak.peak_bytes, peak.reserved_bytes] if group.on_gpu else []
            cells = [_size(size) for size in (*sizes, peak.process_bytes, peak.static_bytes)]
            where = Cell(message(f"name.{peak.kind}_alone", number=peak.number))
            lines.append(Line([Cell(row.name), where, *cells], row.method, row.name))
    shown = columns(("row", "method"), place, *measured, process, ("static_part", "memory"))
    return Table("memory", shown, lines) if lines else None


def _size(size: int | None) -> Cell:
    return not_available() if size is None else Cell(size, "GiB")


def accuracy_table(group: Group) -> Table | None:
    """Top-1 and top-5 after the last epoch of each row's newest run; None where nothing was validated."""
    lines = []
    for row in group.rows[:MAX_LINES]:
        last = row.record.epochs[-1]
        found = last.validation
        if found is None:
            continue
        counts = [Cell(last.epoch, "count"), Cell(found.samples, "count")]
        shares = [Cell(found.top1, "%.1"), Cell(found.top5, "%.1")]
        loss = Cell(message("cell.not_finite")) if found.mean_loss is None else Cell(found.mean_loss, "number")
        lines.append(Line([Cell(row.name), *counts, *shares, loss], row.method, row.name))
    shown = columns(("row", "method"), ("after_epoch", "accuracy"), ("images", "accuracy"), ("top1", "accuracy"),
                    ("top5", "accuracy"), ("mean_loss", "accuracy"))  # fmt: skip
    return Table("accuracy", shown, lines, hint=message("hint.accuracy")) if lines else None
