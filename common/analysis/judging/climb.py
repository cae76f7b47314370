"""The fastest way to train on one device here: what each switch is worth, and whether the top rung still trains."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath

from common.analysis.comparing.ladder_rungs import Ladder, Rung
from common.analysis.comparing.rows import Row
from common.analysis.comparing.speedup import speedup
from common.analysis.judging.cells import NOTHING, Cell, Line, Table, columns, ratio_cell
from common.analysis.judging.changes import changed
from common.analysis.judging.comparison_cells import runs_note, speed_cell
from common.analysis.judging.proposals import torchrun
from common.analysis.statistics.estimates import outcome_of_ratio
from common.content.messages import Message, message

LEAST_FALL = 0.9
"""The loss of the top rung's switches falls by at least so much of what the first rung's falls by, at equal batch."""


@dataclass(frozen=True)
class Climb:
    """The ladder, judged."""

    ladder: Ladder
    lines: list[Message]
    table: Table
    command: str
    """Of the top rung."""
    on_all_devices: str
    """The same with step 04, on as many devices as there are."""


def climb(ladder: Ladder) -> Climb:
    """All that the ladder shows."""
    top = ladder.top
    first, best = ladder.first.throughput, top.throughput
    ratio = speedup(top, ladder.first)
    times = message("ratio.times_with_interval" if ratio.interval else "ratio.times", ratio=ratio)
    height = message("ladder.height", first=first, top=best, times=times)
    lines = [height if top is not ladder.first else message("ladder.stays", first=first), *_trains(ladder)]
    lines += [message("ladder.failed", what=what(rung), message=rung.failed.record.failure.message)
              for rung in ladder.rungs if rung.failed]  # fmt: skip
    command = _bare(top.record.command)
    return Climb(ladder, lines, _table(ladder), command, _with_all_devices(top, command))


def what(rung: Rung) -> Message:
    """`precision: tf32 → bf16`."""
    return changed(rung.fact, rung.values)


def outcome_of(rung: Rung) -> str:
    """`kept`, or why not: the outcome of its ratio, or `failed`."""
    if rung.is_kept or rung.quotient is None:
        return "kept" if rung.is_kept else "failed"
    return outcome_of_ratio(rung.quotient)


def _trains(ladder: Ladder) -> list[Message]:
    """Whether the loss of the top rung's switches falls as the first rung's does, both at the first batch."""
    row = ladder.at_first_batch
    if ladder.top is ladder.first or row is None:
        return [] if ladder.top is ladder.first else [message("ladder.not_checked")]
    losses = [[epoch.mean_loss for epoch in one.record.epochs] for one in (ladder.first, row)]
    if not all(len(of_run) > 1 and all(loss is not None for loss in of_run) for of_run in losses):
        return [message("ladder.not_checked")]
    before, after = ([of_run[0], of_run[-1]] for of_run in losses)
    falls = [first - last for first, last in (before, after)]
    if falls[0] <= 0:
        return [message("ladder.not_checked")]
    id = "ladder.trains" if falls[1] >= LEAST_FALL * falls[0] else "ladder.does_not_train"
    values = {"before": before[0], "before_end": before[1], "after": after[0], "after_end": after[1]}
    return [Message(id, {**values, "least": LEAST_FALL, "epochs": len(losses[1])})]


def _table(ladder: Ladder) -> Table:
    shown = columns(("rung", "ladder"), ("throughput", "throughput"), ("times_as_fast", "ladder"), ("effect", "ladder"),
                    ("gpu_peak" if ladder.first.on_gpu else "process_peak", "memory"))  # fmt: skip
    start = message("ladder.start")
    lines = [Line([Cell(start, notes=(runs_note(ladder.first),)), speed_cell(ladder.first, ()), NOTHING, NOTHING,
                   _peak(ladder.first)], "single")]  # fmt: skip
    for rung in ladder.rungs:
        notes = (runs_note(rung.row),) if rung.row else ()
        speed = speed_cell(rung.row, ()) if rung.row else NOTHING
        times = ratio_cell(rung.quotient, "×") if rung.quotient else NOTHING
        outcome = Cell(message(f"rung.{outcome_of(rung)}"))
        lines.append(Line([Cell(what(rung), notes=notes), speed, times, outcome, _peak(rung.row)], "single"))
    return Table("ladder", shown, lines, hint=message("hint.ladder"))


def _peak(row: Row | None) -> Cell:
    return Cell(row.memory[0].peak_bytes, "GiB") if row and row.memory else NOTHING


def _bare(command: str) -> str:
    """The command with its steps taken apart, as anybody would want it."""
    return command.replace(" --anatomy-steps 0", "")


def _with_all_devices(row: Row, command: str) -> str:
    host = row.record.environment
    devices = len(host.gpus) or min(host.alike_cores, 4)
    script = next(word for word in command.split() if PurePath(word).name.startswith("02_"))
    ranks = torchrun(devices, row.record, row.tables.probed)
    return command.replace(f"python {script}", f"{ranks} {script.replace('02_baseline_single_gpu', '04_ddp_training')}")
