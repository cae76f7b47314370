"""Pairs of configurations of one method on as many devices that differ in exactly one fact, in whichever groups.

Step 05 writes them as `one_change.csv`; `docs/tables.md` explains the columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import get_args

import pandas as pd

from common.analysis.comparing.csv_files import Line, table_of, with_ends
from common.analysis.comparing.facts import GROUP_KEY, OPTIONS, USUAL, closest, facts_of_settings, group_facts
from common.analysis.comparing.rows import Row
from common.analysis.comparing.speedup import in_turn, paired_speedup
from common.records import DdpOptions, Precision, settings_of

ASIDE = (*facts_of_settings(lambda one: one.effect == "length"), "campaign")
"""How long a run was measured, and what for, is no change of what it did: such rows are compared, those that agree in
these where there are."""
MUST_AGREE = (*facts_of_settings(lambda one: one.effect == "work"), "machine", "cpu_model", "cpu_cores", "driver",
              "python")  # fmt: skip
"""Other work, other machines, and what moves no time: no switch that anybody would compare the speed of."""
DDP_SETTINGS = [name for name, one in settings_of(DdpOptions).items() if not one.exempt]
MAX_VALUES = 24
"""Of one fact: all pairs of more would be a table that nobody reads."""
PRECISIONS = get_args(Precision)


@dataclass(frozen=True, eq=False)
class OneChange:
    """Two rows that differ in one fact. `before` has the usual value, the smaller number, or was run first."""

    fact: str
    before: Row
    after: Row
    is_from_first: bool
    """Whether `before` has the first of all values of this fact, which the page compares all others with."""

    @property
    def values(self) -> tuple:
        """The fact's value before and after."""
        return tuple({**group_facts(row.record), **row.facts}[self.fact] for row in (self.before, self.after))


def one_changes(rows: Sequence[Row]) -> list[OneChange]:
    """All pairs among rows that are valid; facts in the order in which `docs/tables.md` has them."""
    known = [(row, _facts(row)) for row in rows if row.is_valid]
    names = dict.fromkeys(name for _, facts in known for name in facts if name not in MUST_AGREE)
    return [pair for name in names for pair in _pairs(name, known)]


def _facts(row: Row) -> dict:
    """What tells configurations apart, each of DDP's options as a fact of its own."""
    config, world = row.record.config, row.record.world
    left_out = ("global_batch_size", OPTIONS, *ASIDE)  # the global batch follows from the batch per device
    every = {**group_facts(row.record), **row.facts}
    facts = {name: value for name, value in every.items() if name not in left_out}
    options = {name: getattr(config.ddp, name) for name in DDP_SETTINGS} if config.ddp else {}
    place = (row.method, world.devices, world.processes, world.emulated, world.shared, world.oversubscribed)
    return {"model": (facts.pop("model"), *place), **facts, **{(OPTIONS, name): options[name] for name in options}}


def _pairs(name: str | tuple, known: Sequence[tuple[Row, dict]]) -> Iterator[OneChange]:
    alike: dict[frozenset, dict] = {}
    for row, facts in known:
        if name in facts:
            others = frozenset((other, value) for other, value in facts.items() if other != name)
            alike.setdefault(others, {}).setdefault(facts[name], []).append(row)
    fact = name[0] if isinstance(name, tuple) else name
    for by_value in alike.values():
        values = sorted(by_value, key=lambda value: _order(name, value, by_value[value]))[:MAX_VALUES]
        for first, second in combinations(values, 2):
            for row in by_value[second]:
                before = closest(_aside(row), by_value[first], _aside)
                yield OneChange(fact, before, row, is_from_first=first == values[0])


def _order(name: str | tuple, value: object, rows: Sequence[Row]) -> tuple:
    usual = getattr(DdpOptions(), name[1]) if isinstance(name, tuple) else USUAL.get(name, value)
    size = PRECISIONS.index(value) if value in PRECISIONS else value if isinstance(value, int | float) else 0
    return value != usual, size, min(row.runs[0].record.started_at for row in rows)


def _aside(row: Row) -> dict:
    return {name: row.facts[name] for name in ASIDE}


def one_change_table(pairs: Sequence[OneChange]) -> pd.DataFrame:
    """A line for each pair."""
    return table_of(map(_line, pairs))


def _line(pair: OneChange) -> Line:
    before, after = pair.before, pair.after
    quotient = paired_speedup(after, before)
    facts = group_facts(before.record)
    line = {
        "fact": pair.fact, "before": pair.values[0], "after": pair.values[1],
        "method": after.method, "devices": after.devices,
        **{name: facts[name] for name in (*GROUP_KEY, "per_device_batch_size")}, OPTIONS: before.facts.get(OPTIONS),
        **with_ends("times_as_fast", quotient),
        "in_turn": in_turn(after, before),
    }  # fmt: skip
    for when, row in (("before", before), ("after", after)):
        line |= {
            **with_ends(f"throughput_{when}_samples_per_second", row.throughput),
            f"peak_memory_{when}_bytes": max((peak.peak_bytes for peak in row.memory), default=None),
            f"files_{when}": " ".join(run.file for run in row.runs),
        }
    return line
