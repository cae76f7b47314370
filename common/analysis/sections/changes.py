"""What one change does to speed and memory: DDP's options within a group, any other fact wherever its rows are."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from common.analysis.comparing.facts import BATCH, OPTIONS, configuration, fact_value, grouped
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
    """What it does to a row that it differs from another in little."""

    row: Row
    other: Row
    fact: str = ""
    """The one in which they differ; without it DDP's options."""

    @cached_property
    def quotient(self) -> Estimate | None:
        """The row's throughput over the other's; None where its speed is withheld."""
        return speedup(self.row, self.other, common_rounds(self.row, self.other)) if self.row.is_valid else None

    @property
    def bytes_more(self) -> int | None:
        """Its peak on the device that holds most, less the other row's."""
        own, others = (max((one.peak_bytes for one in row.memory), default=None) for row in (self.row, self.other))
        return None if own is None or others is None else own - others

    @property
    def outcome(self) -> str:
        """That of the ratio; `withheld` where there is none."""
        return outcome_of_ratio(self.quotient) if self.quotient else "withheld"

    @property
    def what(self) -> Message:
        """`precision: tf32 → bf16`."""
        return changed(self.fact, tuple(configuration(row.record)[self.fact] for row in (self.other, self.row)))

    @property
    def where(self) -> Message:
        """What both have in common: `One device, resnet50, 224 px, 64 samples per device`."""
        return row_and_settings(self.other, self.fact)

    def sentence(self, name: Message | None = None) -> Message:
        """`--one-bucket: slower, 0.93 times as fast (95 % interval 0.90–0.96), memory +12.0 MiB`; `name` replaces what
        differs: the options, or `precision: tf32 → bf16 (One device, resnet50, …)`."""
        if not name and self.fact:
            name = message("change.at", what=self.what, where=self.where)
        doubts = [check.id for check in failed_checks(self.row)]
        missing = {"here": self.row.missing_runs, "there": self.other.missing_runs}
        outcome = message(f"effect.{self.outcome}", ratio=self.quotient, **missing)
        memory = message("nothing" if self.bytes_more is None else "effect.memory", bytes=self.bytes_more)
        of_checks = message("effect.doubts" if doubts else "nothing", checks=doubts)
        options = name or self.row.name.options
        return message("effect.line", options=options, outcome=outcome, memory=memory, doubts=of_checks)

    @property
    def cells(self) -> list[Cell]:
        """Ratio, outcome and memory."""
        return [
            ratio_cell(self.quotient, "×") if self.quotient else WITHHELD,
            Cell(message(f"outcome.{self.outcome}")),
            not_available() if self.bytes_more is None else Cell(self.bytes_more, "±GiB"),
        ]


def changed(fact: str, values: tuple) -> Message:
    """`precision: tf32 → bf16`; `values` before and after."""
    before, after = (fact_value(fact, value) for value in values)
    return message("change.what", fact=fact, before=before, after=after)


def effects(group: Group) -> list[Effect]:
    """What DDP's options do: of each row that has a default row to be compared with, in the order of the rows."""
    return [Effect(row, row.default_options_row) for row in group.rows if row.default_options_row is not None]


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


def changes(pairs: Sequence[OneChange], in_series: set[Row], in_ladder: set[Row]) -> list[Effect]:
    """Each value of a fact compared with its first one, without what has a table elsewhere: DDP's options against the
    default ones, batches of a series, and all between rows of the ladder."""
    return [
        Effect(pair.after, pair.before, pair.fact)
        for pair in pairs
        if pair.is_from_first
        and not (pair.fact == OPTIONS and not pair.before.facts[OPTIONS])
        and not (pair.fact == BATCH["weak"] and {pair.before, pair.after} <= in_series)
        and not {pair.before, pair.after} <= in_ladder
    ]


def changes_section(made: Sequence[Effect]) -> Section | None:
    """A table with a line for each change; None where nothing was changed alone."""
    shown = columns("change:one-change", "before:throughput", "after:throughput", "times_as_fast:one-change",
                    "effect:one-change", "memory_difference:memory")  # fmt: skip
    lines = []
    for change in made[:MAX_LINES]:
        head = Cell(change.what, notes=(change.where, runs_note(change.row)))
        speeds = [speed_cell(row) for row in (change.other, change.row)]
        lines.append(Line([head, *speeds, *change.cells], change.row.method))
    hint = message("hint.one_change")
    if left_out := len(made) - len(lines):
        hint = message("change.left_out", hint=hint, count=left_out)
    table = Table("one_change", shown, lines, hint=hint)
    brief = [change.sentence() for change in made]
    return Section("changes", table.heading, [table], style="group changes", brief=brief) if made else None
