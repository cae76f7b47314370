"""The runs' table -> groups of runs that may be compared -> rows, each measured against one device.

A ratio is only ever formed within a group. Two ways to group are kept apart: *weak scaling* (each device keeps its
batch, more devices do more) and *strong scaling* (the global batch stays, each device gets less).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from common.analysis.comparing.facts import (
    BATCH,
    CONFIGURATION,
    KEY,
    TERMS,
    Fact,
    Facts,
    Scaling,
    closest,
    group_facts,
)
from common.analysis.comparing.naming import name_rows, readable_facts, values_of_facts, varying_facts
from common.analysis.comparing.representatives import measurement_quality
from common.analysis.comparing.rows import Row, RowName
from common.analysis.comparing.tables import Line, Tables, grouped
from common.analysis.reading.runs import Run
from common.records import method_order

RunWithLine = tuple[Run, Line]


@dataclass(eq=False)
class Group:
    """Rows that may be compared with each other."""

    scaling: Scaling
    key: Facts
    """The facts on which all rows agree by definition."""
    rows: list[Row]

    @cached_property
    def main_rows(self) -> list[Row]:
        """The rows without those that only try other options of DDP: what methods are compared by."""
        return [row for row in self.rows if row.standard is None]

    @property
    def on_gpu(self) -> bool:
        """Whether its devices are GPUs; else CPU cores."""
        return self.rows[0].on_gpu

    @property
    def scales(self) -> bool:
        """Whether there are several counts of devices, so that weak and strong scaling differ."""
        return len({row.devices for row in self.rows}) > 1

    @cached_property
    def differences(self) -> dict[str, dict[Fact, list[Row]]]:
        """What differs between the rows although they are compared; options of DDP that were tried are not among it."""
        return varying_facts(readable_facts(self.main_rows))

    @cached_property
    def shared_facts(self) -> Facts:
        """Facts on which all rows that have them agree."""
        values = values_of_facts({row: row.facts for row in self.rows})
        return {fact: next(iter(by_value)) for fact, by_value in values.items() if len(by_value) == 1}


def build_groups(tables: Tables) -> list[Group]:
    """Group the comparable runs (completed, with a speed); the best measured group first, weak scaling before strong.

    Every run is in its weak-scaling group. A strong-scaling group is added where runs of different device counts share
    their global batch; a weak-scaling group with nothing to compare then gives way to it.
    """
    weak = list(_groups(tables, "weak"))
    strong = [group for group in _groups(tables, "strong") if group.scales]
    compared = {run.file for group in strong for row in group.rows for run in row.runs}
    weak = [
        group
        for group in weak
        if len(group.rows) > 1 or any(run.file not in compared for row in group.rows for run in row.runs)
    ]
    return sorted(weak + strong, key=_telling, reverse=True)


def configurations(tables: Tables) -> list[Row]:
    """Every configuration of the comparable runs as a row of no group: without standard, baseline or letter."""
    rows = [_row(tables, alike) for alike in _alike(_comparable(tables), (*KEY, *CONFIGURATION))]
    for row in rows:
        world = row.record.world
        row.name = RowName(row.method, world.devices, world.nodes, options=row.options, is_valid=row.is_valid)
    return rows


def _telling(group: Group) -> tuple:
    quality, completed = measurement_quality(group.rows)
    return *quality, group.scaling == "weak", completed


def _groups(tables: Tables, scaling: Scaling) -> Iterator[Group]:
    for of_group in _alike(_comparable(tables), (*KEY, BATCH[scaling])):
        rows = [_row(tables, alike) for alike in _alike(of_group, CONFIGURATION)]
        key = group_facts(rows[0].record)
        yield _finish(Group(scaling, {name: key[name] for name in (*KEY, BATCH[scaling])}, rows))


def _comparable(tables: Tables) -> list[RunWithLine]:
    return [(run, line) for run, line in zip(tables.all_runs, tables.lines, strict=True) if run.is_comparable]


def _alike(runs: Iterable[RunWithLine], names: Sequence[str]) -> Iterable[list[RunWithLine]]:
    return grouped(runs, lambda pair: tuple(pair[1][name] for name in names)).values()


def _row(tables: Tables, alike: list[RunWithLine]) -> Row:
    return Row([run for run, _ in alike], tables, terms=tuple(alike[-1][1][name] for name in TERMS))


def _finish(group: Group) -> Group:
    """Find each row's baseline and standard, order and name the rows."""
    # Baselines first: a row that is too fast beside its own is not valid, and neither a standard nor named as one.
    singles = sorted((row for row in group.rows if not row.is_parallel and row.is_valid), key=_place)
    for row in group.rows:
        if row.is_parallel:
            row.baseline = closest(row.facts, singles, lambda single: single.facts)
    _link_standards(group.rows)
    group.rows.sort(key=_place)
    name_rows(group.rows)
    return group


def _link_standards(rows: list[Row]) -> None:
    """To a row on equal terms, of the same campaign where there is one. Two rows of the same options have two standards
    or none: they would be called the same."""
    purpose = TERMS.index("campaign")
    defaults: dict[tuple, dict[str, Row]] = {}
    for row in rows:
        if row.has_default_options and row.is_valid:
            defaults.setdefault(_without(row.terms, purpose), {})[row.terms[purpose]] = row
    tried = [row for row in rows if row.options]
    for row in tried:
        row.standard = defaults.get(_without(row.terms, purpose), {}).get(row.terms[purpose])
    linked = {(row.standard, row.options, row.is_valid) for row in tried if row.standard}
    for row in tried:
        others = list(defaults.get(_without(row.terms, purpose), {}).values())
        if row.standard is None and others and (others[-1], row.options, row.is_valid) not in linked:
            row.standard = others[-1]
            linked.add((row.standard, row.options, row.is_valid))


def _without(terms: tuple, place: int) -> tuple:
    return terms[:place] + terms[place + 1 :]


def _place(row: Row) -> tuple:
    world, order = row.record.world, method_order(row.method)
    return row.devices > 1, row.devices, order, world.nodes, row.standard is not None, row.record.started_at
