"""Runs -> configurations -> groups of those that may be compared, each row measured against one device.

A ratio is only ever formed within a group. Two ways to group are kept apart: *weak scaling* (each device keeps its
batch, more devices do more) and *strong scaling* (the global batch stays, each device gets less).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from common.analysis.comparing.facts import OPTIONS, Facts, Scaling, configuration, group_key, grouped, varying_facts
from common.analysis.comparing.rows import Row, RowName, closest
from common.analysis.reading.folder import Folder
from common.records import method_order

PURPOSES: dict = {"lab": 2, "exercise": 2, "by_hand": 1, "unknown": 1}
"""What a row was run for; the higher, the rather it represents its method: a campaign that asks for the answer itself,
runs by hand (or nobody knows), and with 0 any other campaign."""


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
    def representatives(self) -> list[Row]:
        """One row of each method, all on the number of true devices that is measured best.

        Of several configurations of a method one is picked by how well it is measured and by its settings, and never by
        its speed: of enough tries the fastest wins by luck alone. It is the one that differs least from DP's row (from
        DDP's, where there is no DP). DP's own is of the campaign that measured all methods in most rounds, so that a
        few more runs for another purpose move nothing; then the one of most runs (three are enough), of equals the
        newest. DDP with its default options goes before any other.
        """
        valid = [row for row in self.main_rows if row.is_valid]
        true = [row for row in valid if row.true_devices] or valid
        several = grouped((row for row in true if row.devices > 1), lambda row: row.devices)

        def how_well_measured(count: int) -> tuple:
            rounds = _most_rounds(several[count])
            return len(rounds), min(rounds), max(map(_purpose, several[count])), count

        devices = max(several, key=how_well_measured, default=1)
        on_these = [row for row in true if row.devices == devices or not row.is_parallel]
        campaigns = grouped(on_these, lambda row: row.facts["campaign"])
        rounds = {campaign: sum(_most_rounds(of_campaign)) for campaign, of_campaign in campaigns.items()}

        def quality(row: Row) -> tuple:
            of_campaign = rounds[row.facts["campaign"]]
            return row.has_default_options, of_campaign, _purpose(row), row.rounds, row.record.started_at

        by_method = grouped(sorted(on_these, key=quality), lambda row: row.method).values()
        best = [alike[-1] for alike in by_method]
        first = min(best, key=lambda row: (not row.is_parallel, method_order(row.method)), default=None)
        like_best = [[row for row in alike if row.has_default_options == alike[-1].has_default_options]
                     for alike in by_method]  # fmt: skip
        return [closest(first.facts, alike) for alike in like_best] if first else []

    @property
    def oversubscribed(self) -> list[Row]:
        """Rows of several devices that took turns, where there are no others: each method's best measured, DP first."""
        several = [row for row in self.main_rows if row.is_valid and row.devices > 1]
        if any(row.true_devices for row in several):
            return []
        several.sort(key=lambda row: (row.rounds, row.devices, row.record.started_at))
        return sorted({row.method: row for row in several}.values(), key=lambda row: method_order(row.method))


def configurations(folder: Folder) -> list[Row]:
    """Every configuration of the comparable runs (completed, with a speed), its runs pooled: a row of no group,
    compared with no other, and without a letter."""
    limits: dict[str, frozenset[str]] = {}
    for members in grouped(folder.runs, lambda run: tuple(group_key(run.record, "weak").values())).values():
        # What held the clocks back in all of these runs; of a single one nobody knows whether it lasts.
        health = [device.health for run in members for device in run.record.devices if device.health]
        seen = [frozenset(one.throttle_reasons) for one in health if len(members) > 1]
        limits |= dict.fromkeys((run.file for run in members), frozenset.intersection(*seen) if seen else frozenset())
    comparable = [replace(run, lasting_limits=limits[run.file]) for run in folder.runs if run.is_comparable]
    pools = grouped(comparable, lambda run: (run.failed_check, *configuration(run.record).values()))
    rows = [Row(runs, folder.probed) for runs in pools.values()]
    for row in rows:
        row.name = RowName(row.method, row.devices, row.record.world.nodes, options=row.options, is_valid=row.is_valid)
    return rows


def build_groups(rows: Sequence[Row]) -> list[Group]:
    """Group configurations; the best measured group first, weak scaling before strong.

    Every run is in its weak-scaling group. A strong-scaling group is added where runs of different device counts share
    their global batch; a weak-scaling group with nothing to compare then gives way to it.
    """
    strong = [group for group in _groups(rows, "strong") if group.scales]
    compared = {run.file for group in strong for row in group.rows for run in row.runs}
    weak = [group for group in _groups(rows, "weak") if len(group.rows) > 1
            or not {run.file for row in group.rows for run in row.runs} <= compared]  # fmt: skip
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
        min(map(_purpose, rows)),
        group.scaling == "weak",
        max(row.runs[0].record.started_at for row in rows),
    )


def _groups(pooled: Sequence[Row], scaling: Scaling) -> Iterator[Group]:
    """Rows that may be compared, each with the row that it is compared with; ordered and named. Of rows of its own,
    since a row's baseline and name are those of its group."""
    for alike in grouped(pooled, lambda row: tuple(group_key(row.record, scaling).values())).values():
        rows = [replace(row) for row in alike]
        # Baselines first: a row that is too fast beside its own is not valid, and no row that others are compared with.
        singles = sorted((row for row in rows if not row.is_parallel and row.is_valid), key=_place)
        for row in rows:
            if row.is_parallel:
                row.baseline = closest(row.facts, singles)
        _link_default_options(rows)
        rows.sort(key=_place)
        _name_rows(rows)
        yield Group(scaling, group_key(rows[0].record, scaling), rows)


def _link_default_options(rows: list[Row]) -> None:
    """Each row that tries options to one that differs in nothing else, of the same campaign where there is one.

    Two rows of the same options are linked to two rows or to none: they would be called the same.
    """

    def without_options(row: Row) -> tuple:
        return tuple({**configuration(row.record), OPTIONS: None, "campaign": None}.values())

    defaults = grouped((row for row in rows if row.has_default_options and row.is_valid), without_options)
    tried = [(row, defaults.get(without_options(row), [])) for row in rows if row.options]
    for row, fitting in tried:
        row.default_options_row = next((one for one in fitting if one.facts["campaign"] == row.facts["campaign"]), None)
    linked = {(row.default_options_row, row.options, row.is_valid) for row, _ in tried}
    for row, fitting in tried:
        if row.default_options_row is None and fitting and (fitting[-1], row.options, row.is_valid) not in linked:
            row.default_options_row = fitting[-1]
            linked.add((row.default_options_row, row.options, row.is_valid))


def _place(row: Row) -> tuple:
    world, order = row.record.world, method_order(row.method)
    return row.devices > 1, row.devices, order, world.nodes, row.default_options_row is not None, row.record.started_at


def _name_rows(rows: Sequence[Row]) -> None:
    """Give every row its name; with letters and the facts behind them where several would have the same one."""

    def without_letter(row: Row) -> RowName:
        return RowName(row.method, row.devices, row.record.world.nodes if row.is_parallel else 1)

    for name, same in grouped((row for row in rows if row.default_options_row is None), without_letter).items():
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


def readable_facts(rows: Sequence[Row]) -> dict[Row, Facts]:
    """The facts of each row, machines by their hosts' names where these tell them apart, else by their hashes."""
    hosts = {row.facts["machine"]: row.record.environment.hostname for row in rows}
    if len(set(hosts.values())) < len(hosts):
        return {row: row.facts for row in rows}
    return {row: {**row.facts, "machine": hosts[row.facts["machine"]]} for row in rows}


def _letters(position: int) -> str:
    """0, 1, … 25, 26 -> a, b, … z, aa."""
    return (_letters(position // 26 - 1) if position >= 26 else "") + "abcdefghijklmnopqrstuvwxyz"[position % 26]


def _most_rounds(rows: Sequence[Row]) -> list[int]:
    """The most rounds that a row of each method has."""
    by_method = grouped(rows, lambda row: row.method)
    return [max(row.rounds for row in alike) for alike in by_method.values()]


def _purpose(row: Row) -> int:
    return PURPOSES.get(row.facts["campaign"], 0)
