"""One change, one ratio: what any single switch does, wherever the two configurations stand on the page."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from common.analysis.comparing.facts import BATCH, GROUP_KEY, OPTIONS, group_facts
from common.analysis.comparing.one_change import OneChange
from common.analysis.comparing.rows import Row
from common.analysis.sections.comparison import runs_note, speed_cell
from common.analysis.sections.differences import unusual_parts
from common.analysis.sections.options import Effect, effect_of
from common.content import Cell, Line, Message, Section, Table, columns, message

MAX_LINES = 60


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
        row, key = self.pair.before, group_facts(self.pair.before.record)
        parts = unusual_parts({name: key[name] for name in GROUP_KEY if name != self.pair.fact})
        if self.pair.fact != BATCH["weak"]:
            parts.append(message("title.batch_weak", value=key[BATCH["weak"]]))
        return message("change.where", row=row.name, model=key["model"], parts=parts)


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
