"""What one change does, wherever the two configurations are on the page; and the ladder, one change after another."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from common.analysis.comparing.facts import BATCH, OPTIONS
from common.analysis.comparing.one_change import Ladder, OneChange
from common.analysis.comparing.rows import Row
from common.analysis.comparing.speedup import paired_speedup, speedup
from common.analysis.judging.proposals import own_address
from common.analysis.judging.row_checks import failed_checks
from common.analysis.judging.verdicts import rate_of
from common.analysis.sections.comparison import ratio_cell, row_and_settings, runs_note, speed_cell
from common.analysis.statistics.estimates import Estimate, outcome_of_ratio
from common.content import (
    NOTHING,
    WITHHELD,
    Cell,
    Commands,
    Figure,
    Line,
    Lines,
    Message,
    Section,
    Table,
    columns,
    message,
    not_available,
)
from common.records import METHODS

MAX_LINES = 60
LEAST_FALL = 0.9
"""With the top's switches the loss falls by at least so much of what it falls by at first, at equal batch."""


@dataclass(frozen=True)
class Effect:
    """One row compared with another that differs from it in little: DDP's options, or any one fact."""

    row: Row
    other: Row
    quotient: Estimate | None
    """Its throughput over that of the other row; None where its speed is withheld."""
    bytes_more: int | None
    """Its peak on the device that holds most, less the other row's."""
    outcome: str
    """That of the ratio; `withheld` where there is none."""

    def sentence(self, what: Message | str = "") -> Message:
        """`--one-bucket: slower, 0.93 times as fast (95 % interval 0.90–0.96), memory +12.0 MiB`; `what` names what
        sets the row apart, unless its options do."""
        doubts = [check.id for check in failed_checks(self.row)]
        missing = {"here": self.row.missing_runs, "there": self.other.missing_runs}
        more = message("effect.memory", bytes=self.bytes_more) if self.bytes_more is not None else message("nothing")
        return message(
            "effect.line",
            options=what or self.row.name.options,
            outcome=message(f"effect.{self.outcome}", ratio=self.quotient, **missing),
            memory=more,
            doubts=message("effect.doubts", checks=doubts) if doubts else message("nothing"),
        )

    @property
    def cells(self) -> list[Cell]:
        """Ratio, outcome and memory."""
        return [
            ratio_cell(self.quotient, "×") if self.quotient else WITHHELD,
            Cell(message(f"outcome.{self.outcome}")),
            not_available() if self.bytes_more is None else Cell(self.bytes_more, "±GiB"),
        ]


def effect_of(row: Row, other: Row) -> Effect:
    """What sets `row` apart from `other`, in speed and in memory."""
    peaks = [max((device.peak_bytes for device in one.memory), default=None) for one in (row, other)]
    more = None if None in peaks else peaks[0] - peaks[1]
    quotient = paired_speedup(row, other) if row.is_valid else None
    return Effect(row, other, quotient, more, outcome_of_ratio(quotient) if quotient else "withheld")


@dataclass(frozen=True)
class Change:
    """One fact that changed, and what came of it."""

    pair: OneChange
    effect: Effect

    @property
    def sentence(self) -> Message:
        """One line: `precision: tf32 → bf16 (One device, resnet50, …): 1.12 times as fast (…), memory −2.50 GiB`."""
        return self.effect.sentence(message("change.at", what=self.what, where=self.where))

    @property
    def what(self) -> Message:
        """`precision: tf32 → bf16`."""
        return changed(self.pair.fact, self.pair.values)

    @property
    def where(self) -> Message:
        """What both have in common: `One device, resnet50, 224 px, 64 samples per device`."""
        return row_and_settings(self.pair.before, self.pair.fact)


def changed(fact: str, values: tuple) -> Message:
    """`precision: tf32 → bf16`; `values` before and after."""
    before, after = (message(f"fact_value.{fact}", value=value) for value in values)
    return message("change.what", fact=fact, before=before, after=after)


def changes(
    pairs: Sequence[OneChange], over_batches: Collection[Row] = (), in_ladder: Collection[Row] = ()
) -> list[Change]:
    """Those that the page shows: each value of a fact compared with its first one.

    Left out is what has a table elsewhere: DDP's options against the default ones, batches of `over_batches`, and all
    between rows `in_ladder`.
    """
    shown = [
        pair
        for pair in pairs
        if pair.is_from_first
        and not (pair.fact == OPTIONS and not pair.before.facts[OPTIONS])
        and not (pair.fact == BATCH["weak"] and {pair.before, pair.after} <= set(over_batches))
        and not {pair.before, pair.after} <= set(in_ladder)
    ]
    return [Change(pair, effect_of(pair.after, pair.before)) for pair in shown]


def changes_section(made: Sequence[Change]) -> Section | None:
    """A table with a line for each change; None where nothing was changed alone."""
    if not made:
        return None
    shown = columns("change:one-change", "before:throughput", "after:throughput", "times_as_fast:one-change",
                    "effect:one-change", "memory_difference:memory")  # fmt: skip
    lines = [Line(_cells(change), change.pair.after.method) for change in made[:MAX_LINES]]
    hint = message("hint.one_change")
    if left_out := len(made) - len(lines):
        hint = message("change.left_out", hint=hint, count=left_out)
    table = Table("one_change", shown, lines, hint=hint)
    brief = [change.sentence for change in made]
    return Section("changes", table.heading, [table], style="group changes", brief=brief)


def _cells(change: Change) -> list[Cell]:
    before, after = change.pair.before, change.pair.after
    head = Cell(change.what, notes=(change.where, runs_note(after)))
    return [head, speed_cell(before), speed_cell(after), *change.effect.cells]


def ladder_section(ladder: Ladder) -> Section:
    """All that the ladder shows; the commands of its top configuration, on one device and on all."""
    lines = [
        height(ladder),
        *([_trains(ladder)] if ladder.top is not ladder.first else []),
        *(message("ladder.failed", what=changed(trial.fact, trial.values), message=trial.failed.record.failure.message)
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
    lines = [_rung(message("ladder.start"), ladder.first, NOTHING, NOTHING)]
    for trial in ladder.trials:
        times = ratio_cell(trial.quotient, "×") if trial.quotient else NOTHING
        lines.append(_rung(changed(trial.fact, trial.values), trial.row, times, Cell(message(f"rung.{trial.outcome}"))))
    return Table("ladder", shown, lines, hint=message("hint.ladder"))


def _rung(name: Message, row: Row | None, *cells: Cell) -> Line:
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
