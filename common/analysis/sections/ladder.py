"""The fastest way to train on one device here: what each switch is worth, and whether the top still trains."""

from __future__ import annotations

from pathlib import PurePath

from common.analysis.comparing.one_change import Ladder, Trial
from common.analysis.comparing.rows import Row
from common.analysis.comparing.speedup import speedup
from common.analysis.judging.proposals import own_address
from common.analysis.judging.verdicts import rate_of
from common.analysis.sections.changes import changed
from common.analysis.sections.comparison import ratio_cell, runs_note, speed_cell
from common.analysis.statistics.estimates import outcome_of_ratio
from common.content import NOTHING, Cell, Commands, Figure, Line, Lines, Message, Section, Table, columns, message
from common.records import METHODS

LEAST_FALL = 0.9
"""With the top's switches the loss falls by at least so much of what it falls by at first, at equal batch."""


def ladder_section(ladder: Ladder) -> Section:
    """All that the ladder shows; the commands of its top configuration, on one device and on all."""
    lines = [
        height(ladder),
        *([_trains(ladder)] if ladder.top is not ladder.first else []),
        *(message("ladder.failed", what=what(trial), message=trial.failed.record.failure.message)
          for trial in ladder.trials if trial.failed),
    ]  # fmt: skip
    # Without what takes its steps apart, as anybody would want it.
    command = ladder.top.record.command.replace(" --anatomy-steps 0", "")
    here = Commands([command], message("ladder.command"))
    everywhere = Commands([_with_all_devices(ladder.top, command)], message("ladder.on_all_devices"))
    figure = Figure("all_ladder", is_titled=False)
    shown = Section(style="beside", contents=[figure, Section(contents=[here, everywhere])])
    return Section("one-device", message("table.ladder"), [Lines(lines, "verdicts"), shown, ladder_table(ladder)],
                   style="group changes", brief=lines, commands=[command])  # fmt: skip


def height(ladder: Ladder) -> Message:
    """How much faster the top configuration is than the first."""
    if ladder.top is ladder.first:
        return message("ladder.stays", first=rate_of(ladder.first))
    ratio = speedup(ladder.top, ladder.first)
    times = message("ratio.times_with_interval" if ratio.interval else "ratio.times", ratio=ratio)
    return message("ladder.height", first=rate_of(ladder.first), top=rate_of(ladder.top), times=times)


def what(trial: Trial) -> Message:
    """`precision: tf32 → bf16`."""
    return changed(trial.fact, trial.values)


def outcome_of(trial: Trial) -> str:
    """`kept`, or why not: the outcome of its ratio, or `failed`."""
    if trial.is_kept or trial.quotient is None:
        return "kept" if trial.is_kept else "failed"
    return outcome_of_ratio(trial.quotient)


def _trains(ladder: Ladder) -> Message:
    """Whether the loss of the top's switches falls as the first configuration's does, both at the first batch."""
    rows = [row for row in (ladder.first, ladder.at_first_batch) if row]
    losses = [[epoch.mean_loss for epoch in row.record.epochs] for row in rows]
    if len(rows) < 2 or any(len(of_run) < 2 or None in of_run for of_run in losses):
        return message("ladder.not_checked")
    before, after = losses
    fall = before[0] - before[-1]
    if fall <= 0:
        return message("ladder.not_checked")
    id = "ladder.trains" if after[0] - after[-1] >= LEAST_FALL * fall else "ladder.does_not_train"
    return message(id, before=before[0], before_end=before[-1], after=after[0], after_end=after[-1], least=LEAST_FALL,
                   epochs=len(after))  # fmt: skip


def ladder_table(ladder: Ladder) -> Table:
    """A line for each trial, the first configuration on top."""
    peak = "gpu_peak:memory" if ladder.first.on_gpu else "process_peak:memory"
    shown = columns("rung:ladder", "throughput", "times_as_fast:ladder", "effect:ladder", peak)
    lines = [_line(message("ladder.start"), ladder.first, NOTHING, NOTHING)]
    for trial in ladder.trials:
        times = ratio_cell(trial.quotient, "×") if trial.quotient else NOTHING
        lines.append(_line(what(trial), trial.row, times, Cell(message(f"rung.{outcome_of(trial)}"))))
    return Table("ladder", shown, lines, hint=message("hint.ladder"))


def _line(name: Message, row: Row | None, *cells: Cell) -> Line:
    if row is None:
        return Line([Cell(name), NOTHING, *cells, NOTHING], "single")
    peak = Cell(row.memory[0].peak_bytes, "GiB") if row.memory else NOTHING
    return Line([Cell(name, notes=(runs_note(row),)), speed_cell(row, []), *cells, peak], "single")


def _with_all_devices(row: Row, command: str) -> str:
    host = row.record.environment
    devices = len(host.gpus) or min(host.alike_cores, 4)
    script = next(word for word in command.split() if PurePath(word).name.startswith("02_"))
    arguments = command.partition(f"{script} ")[2]
    return METHODS["ddp"].command(arguments, devices, address=own_address(row.record, row.probed))
