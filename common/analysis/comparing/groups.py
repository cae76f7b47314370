"""Runs -> configurations -> groups of those that may be compared, each row measured against one device.

A ratio is only ever formed within a group. Two ways to group are kept apart: *weak scaling* (each device keeps its
batch, more devices do more) and *strong scaling* (the global batch stays, each device gets less).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

from common.analysis.comparing.facts import (
    OPTIONS,
    Fact,
    Facts,
    Scaling,
    closest,
    configuration,
    group_key,
    grouped,
    values_of_facts,
    varying_facts,
)
from common.analysis.comparing.representatives import purpose_of, representative_rows
from common.analysis.comparing.rows import Row, RowName
from common.analysis.reading.folder import Folder
from common.analysis.reading.runs import Run
from common.records import method_order


@dataclass(eq=False)
class Group:
    """Rows that may be compared with each other."""

    scaling: Scaling
    key: Facts
    """The facts on which all rows agree by definition."""
    rows: list[Row]
    representatives: list[Row]
    """One row of each method: those that the outcome is about."""

    @cached_property
    def main_rows(self) -> list[Row]:
        """The rows without those that only try other options of DDP: what methods are compared by."""
        return [row for row in self.rows if row.default_options_row is None]

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


def configurations(folder: Folder) -> list[Row]:
    """Every configuration of the comparable runs (completed, with a speed), its runs pooled: a row of no group,
    compared with no other, and without a letter."""
    comparable = [run for run in _with_lasting_limits(folder.runs) if run.is_comparable]
    pools = grouped(comparable, lambda run: (run.failed_check, *configuration(run.record).values()))
    rows = [Row(runs, folder.probed) for runs in pools.values()]
    for row in rows:
        nodes = row.record.world.nodes
        row.name = RowName(row.method, row.devices, nodes, options=row.options, is_valid=row.is_valid)
    return rows


def _with_lasting_limits(runs: Sequence[Run]) -> list[Run]:
    """The runs, each with what held the clocks back in all runs of its weak-scaling group; of a single run nobody knows
    whether it lasts."""
    marked: dict[str, Run] = {}
    for members in grouped(runs, lambda run: tuple(group_key(run.record, "weak").values())).values():
        health = [device.health for run in members for device in run.record.devices if device.health]
        seen = [frozenset(one.throttle_reasons) for one in health]
        limits = frozenset.intersection(*seen) if len(members) > 1 and seen else frozenset[str]()
        marked |= {run.file: replace(run, lasting_limits=limits) for run in members}
    return [marked[run.file] for run in runs]


def build_groups(rows: Sequence[Row]) -> list[Group]:
    """Group configurations; the best measured group first, weak scaling before strong.

    Every run is in its weak-scaling group. A strong-scaling group is added where runs of different device counts share
    their global batch; a weak-scaling group with nothing to compare then gives way to it.
    """
    strong = [group for group in _groups(rows, "strong") if group.scales]
    compared = {run.file for group in strong for row in group.rows for run in row.runs}
    weak = [
        group
        for group in _groups(rows, "weak")
        if len(group.rows) > 1 or any(run.file not in compared for row in group.rows for run in row.runs)
    ]
    return sorted(weak + strong, key=_importance, reverse=True)


def withheld_files(groups: Sequence[Group]) -> set[str]:
    """The files of runs whose speed is withheld in some group, be it for its runs or beside its baseline."""
    return {run.file for group in groups for row in group.rows if not row.is_valid for run in row.runs}


def _importance(group: Group) -> tuple:
    """Methods on true devices, then methods at all, then runs of each, then what they were run for. The last part is
    the time at which the last of the representatives was first complete, so that one more run of an old experiment
    moves nothing."""
    rows = group.representatives or group.rows
    is_parallel = any(row.devices > 1 and row.true_devices for row in rows)
    return (
        len({row.method for row in rows}) if is_parallel else 1,
        len({row.method for row in group.rows}),
        min(row.rounds for row in rows),
        min(map(purpose_of, rows)),
        group.scaling == "weak",
        max(row.runs[0].record.started_at for row in rows),
    )


def _groups(pooled: Sequence[Row], scaling: Scaling) -> Iterator[Group]:
    """Rows that may be compared, each with the row that it is compared with; ordered and named, and representatives
    chosen. Of rows of its own, since a row's baseline and name are those of its group."""
    for alike in grouped(pooled, lambda row: tuple(group_key(row.record, scaling).values())).values():
        rows = [replace(row) for row in alike]
        # Baselines first: a row that is too fast beside its own is not valid, and no row that others are compared with.
        singles = sorted((row for row in rows if not row.is_parallel and row.is_valid), key=_place)
        for row in rows:
            if row.is_parallel:
                row.baseline = closest(row.facts, singles, lambda single: single.facts)
        _link_default_options(rows)
        rows.sort(key=_place)
        _name_rows(rows)
        yield Group(scaling, group_key(rows[0].record, scaling), rows, representative_rows(rows))


def _link_default_options(rows: list[Row]) -> None:
    """Each row that tries options to one that differs in nothing else, of the same campaign where there is one.

    Two rows of the same options are linked to two rows or to none: they would be called the same.
    """
    same = partial(configuration_but, left_out=(OPTIONS, "campaign"))
    defaults = grouped((row for row in rows if row.has_default_options and row.is_valid), same)
    tried = [(row, defaults.get(same(row), [])) for row in rows if row.options]
    for row, fitting in tried:
        row.default_options_row = next((one for one in fitting if one.facts["campaign"] == row.facts["campaign"]), None)
    linked = {(row.default_options_row, row.options, row.is_valid) for row, _ in tried}
    for row, fitting in tried:
        if row.default_options_row is None and fitting and (fitting[-1], row.options, row.is_valid) not in linked:
            row.default_options_row = fitting[-1]
            linked.add((row.default_options_row, row.options, row.is_valid))


def configuration_but(row: Row, left_out: Sequence[str]) -> tuple:
    """All of a configuration but some facts: without DDP's options, rows where it is equal show what these do."""
    return tuple(value for name, value in configuration(row.record).items() if name not in left_out)


def _place(row: Row) -> tuple:
    world, order = row.record.world, method_order(row.method)
    return row.devices > 1, row.devices, order, world.nodes, row.default_options_row is not None, row.record.started_at


def _name_rows(rows: Sequence[Row]) -> None:
    """Give every row its name; with letters and the facts behind them where several would have the same one."""
    for name, same in grouped((row for row in rows if row.default_options_row is None), _plain_name).items():
        readable = readable_facts(same)
        varying = varying_facts(readable)
        for position, (row, facts) in enumerate(readable.items()):
            row.name = name if len(same) == 1 else replace(name, letter=_letters(position))
            row.variant = {fact: facts[fact] for fact in varying if fact in facts}
    for row in rows:
        if row.default_options_row is not None:
            # A run that failed parity is not pooled with its repeats: there may be two rows of these options.
            row.name = replace(row.default_options_row.name, options=row.options, is_valid=row.is_valid)
            row.variant = {OPTIONS: row.options}


def _plain_name(row: Row) -> RowName:
    return RowName(row.method, row.devices, row.record.world.nodes if row.is_parallel else 1)


def readable_facts(rows: Sequence[Row]) -> dict[Row, Facts]:
    """The facts of each row, machines by their hosts' names where these tell them apart, else by their hashes."""
    hosts = {row.facts["machine"]: row.record.environment.hostname for row in rows}
    if len(set(hosts.values())) < len(hosts):
        return {row: row.facts for row in rows}
    return {row: {**row.facts, "machine": hosts[row.facts["machine"]]} for row in rows}


def _letters(position: int) -> str:
    """0, 1, … 25, 26 -> a, b, … z, aa."""
    return (_letters(position // 26 - 1) if position >= 26 else "") + "abcdefghijklmnopqrstuvwxyz"[position % 26]
