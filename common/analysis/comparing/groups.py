"""Runs -> configurations -> groups of those that may be compared, each row measured against one device.

A ratio is only ever formed within a group. Two ways to group are kept apart: *weak scaling* (each device keeps its
batch, more devices do more) and *strong scaling* (the global batch stays, each device gets less).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from common.analysis.comparing.facts import Facts, Scaling, configuration, group_key, grouped
from common.analysis.comparing.row_names import closest, link_default_options, name_rows
from common.analysis.comparing.rows import Row, RowName
from common.analysis.comparing.speedup import speedup
from common.analysis.reading.folder import Folder
from common.analysis.reading.runs import Run
from common.records import method_order

PURPOSES: dict = {"lab": 2, "exercise": 2, "by_hand": 1, "unknown": 1}
"""What a row was run for; the higher, the rather it represents its method: a campaign that asks for the answer itself,
runs by hand (or nobody knows), and with 0 any other campaign."""
MAX_WEAK_EFFICIENCY = 1.25
"""Devices that each do one device's work take at least its time. Of the recorded examples none is above 1.03; the
rest is left to a single run of one device that something slowed."""
MAX_STRONG_EFFICIENCY = 2.0
"""A device's part of the batch may fit into a cache, or into the memory, where the whole did not."""


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
    def files(self) -> set[str]:
        """Those of all its runs."""
        return {run.file for row in self.rows for run in row.runs}

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

        DP's (DDP's, where there is no DP) is its best measured one. Each other method's is the one that differs least
        from that, and of equals the best measured. Speed decides nothing: of enough tries the fastest wins by luck.
        """
        rows = _on_best_measured_devices([row for row in self.main_rows if row.is_valid])
        by_method = grouped(_best_measured_last(rows), lambda row: row.method)
        # DDP with other options speaks for DDP only where it was not run without.
        candidates = [[row for row in alike if not row.options] or alike for alike in by_method.values()]
        best = [alike[-1] for alike in candidates]
        first = min(best, key=lambda row: (not row.is_parallel, method_order(row.method)), default=None)
        return [closest(first.facts, alike) for alike in candidates]

    @property
    def oversubscribed(self) -> list[Row]:
        """Rows of several devices that took turns, where there are no others: each method's best measured, DP first."""
        several = [row for row in self.main_rows if row.is_valid and row.devices > 1]
        if any(row.true_devices for row in several):
            return []
        several.sort(key=lambda row: (row.rounds, row.devices, row.record.started_at))
        return sorted({row.method: row for row in several}.values(), key=lambda row: method_order(row.method))


def _on_best_measured_devices(rows: Sequence[Row]) -> list[Row]:
    """The rows of one device, and those on the number of true devices on which most methods were measured, then in most
    rounds, then for the purpose that counts most; of equals the largest."""
    true = [row for row in rows if row.true_devices] or rows
    several = grouped((row for row in true if row.devices > 1), lambda row: row.devices)

    def how_well(devices: int) -> tuple:
        rounds = _most_rounds(several[devices])
        return len(rounds), min(rounds), max(map(_purpose, several[devices])), devices

    devices = max(several, key=how_well, default=1)
    return [row for row in true if row.devices == devices or not row.is_parallel]


def _best_measured_last(rows: Sequence[Row]) -> list[Row]:
    """DDP with its default options goes before any other. Then by the campaign that measured all methods in most
    rounds, so that a few more runs for another purpose move nothing; by the purpose, by runs (three are enough), and by
    time."""
    campaigns = grouped(rows, lambda row: row.facts["campaign"])
    rounds = {campaign: sum(_most_rounds(of_campaign)) for campaign, of_campaign in campaigns.items()}

    def how_well(row: Row) -> tuple:
        of_campaign = rounds[row.facts["campaign"]]
        return row.method == "ddp" and not row.options, of_campaign, _purpose(row), row.rounds, row.record.started_at

    return sorted(rows, key=how_well)


def _most_rounds(rows: Sequence[Row]) -> list[int]:
    """The most rounds that a row of each method has."""
    by_method = grouped(rows, lambda row: row.method)
    return [max(row.rounds for row in alike) for alike in by_method.values()]


def _purpose(row: Row) -> int:
    return PURPOSES.get(row.facts["campaign"], 0)


@dataclass(frozen=True)
class Comparison:
    """A folder's runs, pooled and grouped."""

    groups: list[Group]
    """The best measured first, weak scaling before strong."""
    configurations: list[Row]
    """Each by itself: a row of no group, compared with no other, and without a letter."""
    withheld: list[Row]
    """The same of those whose speed is withheld in some group, be it for its runs or beside its baseline."""


def compare_runs(folder: Folder) -> Comparison:
    """Pool the comparable runs (completed, with a speed) of each configuration, and group what may be compared.

    Every run is in its weak-scaling group. A strong-scaling group is added where runs of different device counts share
    their global batch; a weak-scaling group with nothing to compare then gives way to it.
    """
    comparable = [run for run in _with_throttling_in_all(folder.runs) if run.is_comparable]
    pools = grouped(comparable, lambda run: (run.failed_check, *configuration(run.record).values()))
    rows = [Row(runs, folder.probed) for runs in pools.values()]
    for row in rows:
        row.name = RowName(row.method, row.devices, row.record.world.nodes, options=row.options, is_valid=row.is_valid)
    strong = [group for group in _groups(rows, "strong") if group.scales]
    compared = set().union(*(group.files for group in strong))
    weak = [group for group in _groups(rows, "weak") if len(group.rows) > 1 or not group.files <= compared]
    groups = sorted(weak + strong, key=_importance, reverse=True)
    not_valid = {run.file for group in groups for row in group.rows if not row.is_valid for run in row.runs}
    by_withheld = grouped(rows, lambda row: row.runs[-1].file in not_valid)
    return Comparison(groups, by_withheld.get(False, []), by_withheld.get(True, []))


def _with_throttling_in_all(runs: Sequence[Run]) -> list[Run]:
    """Runs with what held the clocks back in all of their group; of a single run nobody knows whether it lasts."""
    limits: dict[str, frozenset[str]] = {}
    for alike in grouped(runs, lambda run: tuple(group_key(run.record, "weak").values())).values():
        health = [device.health for run in alike for device in run.record.devices if device.health]
        seen = [frozenset(one.throttle_reasons) for one in health if len(alike) > 1]
        limits |= dict.fromkeys((run.file for run in alike), frozenset.intersection(*seen) if seen else frozenset())
    return [replace(run, throttling_in_all_runs=limits[run.file]) for run in runs]


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


def _groups(pooled: Sequence[Row], scaling: Scaling) -> list[Group]:
    """Rows that may be compared, each with the row that it is compared with; ordered and named. Of rows of its own,
    since a row's baseline and name are those of its group."""
    groups = grouped(map(replace, pooled), lambda row: tuple(group_key(row.record, scaling).values()))
    for rows in groups.values():
        _compare_with_one_device(rows)  # first: it decides which rows are valid
        link_default_options(rows)
        rows.sort(key=lambda row: (row.devices > 1, row.devices, method_order(row.method), row.record.world.nodes,
                                   row.default_options_row is not None, row.record.started_at))  # fmt: skip
        name_rows(rows)
    return [Group(scaling, group_key(rows[0].record, scaling), rows) for rows in groups.values()]


def _compare_with_one_device(rows: Sequence[Row]) -> None:
    """Give every parallel row its baseline, the row of one device that is most like it, and its speed-up over that.

    A speed-up that cannot be makes the row invalid, and is withheld.
    """
    singles = sorted(
        (row for row in rows if not row.is_parallel and row.is_valid), key=lambda row: row.record.started_at
    )
    for row in rows:
        if row.is_parallel and (one := closest(row.facts, singles)):
            row.baseline, ratio = one, speedup(row, one)
            is_weak = row.record.config.per_device_batch_size == one.record.config.per_device_batch_size
            efficiency = ratio.scaled(1 / row.devices)
            if efficiency.bounds[0] > (MAX_WEAK_EFFICIENCY if is_weak else MAX_STRONG_EFFICIENCY):
                row.impossible_efficiency = efficiency
            row.speed_up = ratio if row.is_valid else None
