"""What one change does to speed and memory: DDP's options within a group, any other fact wherever its rows are."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from common.analysis.comparing.facts import BATCH, OPTIONS, configuration, grouped
from common.analysis.comparing.groups import Group
from common.analysis.comparing.one_change import OneChange
from common.analysis.comparing.rows import Row
from common.analysis.comparing.speedup import common_rounds, speedup
from common.analysis.judging.row_checks import failed_checks
from common.analysis.sections.comparison import ratio_cell, row_and_settings, runs_note, speed_cell
from common.analysis.statistics.estimates import Estimate, outcome_of_ratio
from common.content import NOTHING, WITHHELD, Cell, Line, Section, Table, columns, not_available
from common.messages import Message, message

MAX_LINES, MAX_OPTIONS = 60, 48


@dataclass(frozen=True)
class Effect:
    """One row compared with another that differs from it in little: DDP's options, or any one fact."""

    row: Row
    other: Row
    quotient: Estimate | None
    """Its throughput over that of the other row; None where its speed is withheld."""
    bytes_more: int | None
    """Its peak on the device that holds most, less the other row's."""

    @property
    def outcome(self) -> str:
        """That of the ratio; `withheld` where there is none."""
        return outcome_of_ratio(self.quotient) if self.quotient else "withheld"

    def sentence(self, what: Message | str = "") -> Message:
        """`--one-bucket: slower, 0.93 times as fast (95 % interval 0.90–0.96), memory +12.0 MiB`; `what` names what
        sets the row apart, unless its options do."""
        doubts = [check.id for check in failed_checks(self.row)]
        missing = {"here": self.row.missing_runs, "there": self.other.missing_runs}
        outcome = message(f"effect.{self.outcome}", ratio=self.quotient, **missing)
        memory = message("nothing" if self.bytes_more is None else "effect.memory", bytes=self.bytes_more)
        of_checks = message("effect.doubts" if doubts else "nothing", checks=doubts)
        options = what or self.row.name.options
        return message("effect.line", options=options, outcome=outcome, memory=memory, doubts=of_checks)

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
    return Effect(row, other, speedup(row, other, common_rounds(row, other)) if row.is_valid else None, more)


def effects(group: Group) -> list[Effect]:
    """What DDP's options do: of each row that has a default row to be compared with, in the order of the rows."""
    return [effect_of(row, row.default_options_row) for row in group.rows if row.default_options_row is not None]


def without_default(group: Group) -> list[Message]:
    """A line for every set of rows that differ in DDP's options alone and lack the default ones."""
    tried = [row for row in group.main_rows if row.options and row.is_valid]
    alike = grouped(tried, lambda row: tuple({**configuration(row.record), OPTIONS: None}.values())).values()
    return [message("effect.no_default", rows=[row.name for row in rows]) for rows in alike if len(rows) > 1]


def options_table(tried: list[Effect], checks: str = "") -> Table:
    """The default rows, each followed by the rows that are compared with it."""
    shown = columns("options:ddp-options", "throughput", "against_defaults:ddp-options", "effect:ddp-options",
                    "memory_difference:memory")  # fmt: skip
    lines = []
    for standard, of_standard in grouped(tried[:MAX_OPTIONS], lambda effect: effect.other).items():
        head = Cell(message("cell.defaults"), notes=(message("note.plain", text=standard.name), runs_note(standard)))
        lines.append(Line([head, speed_cell(standard), NOTHING, NOTHING, NOTHING], standard.method, standard.name))
        for effect in of_standard:
            head = Cell(effect.row.name.options, notes=(runs_note(effect.row),))
            lines.append(Line([head, speed_cell(effect.row), *effect.cells], effect.row.method, effect.row.name))
    return Table("options", shown, lines, hint=message("hint.options"), checks=checks)


@dataclass(frozen=True)
class Change:
    """One fact that changed, and what came of it."""

    pair: OneChange
    effect: Effect

    @property
    def what(self) -> Message:
        """`precision: tf32 → bf16`."""
        return changed(self.pair.fact, self.pair.values)

    @property
    def where(self) -> Message:
        """What both have in common: `One device, resnet50, 224 px, 64 samples per device`."""
        return row_and_settings(self.pair.before, self.pair.fact)

    @property
    def sentence(self) -> Message:
        """One line: `precision: tf32 → bf16 (One device, resnet50, …): 1.12 times as fast (…), memory −2.50 GiB`."""
        return self.effect.sentence(message("change.at", what=self.what, where=self.where))


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
    return [
        Change(pair, effect_of(pair.after, pair.before))
        for pair in pairs
        if pair.is_from_first
        and not (pair.fact == OPTIONS and not pair.before.facts[OPTIONS])
        and not (pair.fact == BATCH["weak"] and {pair.before, pair.after} <= set(over_batches))
        and not {pair.before, pair.after} <= set(in_ladder)
    ]


def changes_section(made: Sequence[Change]) -> Section | None:
    """A table with a line for each change; None where nothing was changed alone."""
    if not made:
        return None
    shown = columns("change:one-change", "before:throughput", "after:throughput", "times_as_fast:one-change",
                    "effect:one-change", "memory_difference:memory")  # fmt: skip
    lines = []
    for change in made[:MAX_LINES]:
        before, after = change.pair.before, change.pair.after
        head = Cell(change.what, notes=(change.where, runs_note(after)))
        lines.append(Line([head, speed_cell(before), speed_cell(after), *change.effect.cells], after.method))
    hint = message("hint.one_change")
    if left_out := len(made) - len(lines):
        hint = message("change.left_out", hint=hint, count=left_out)
    table = Table("one_change", shown, lines, hint=hint)
    brief = [change.sentence for change in made]
    return Section("changes", table.heading, [table], style="group changes", brief=brief)
