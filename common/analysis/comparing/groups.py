"""Records -> groups of runs that may be compared -> rows, one for each configuration, measured against one device.

A ratio is only ever formed within a group. Two ways to group are kept apart: *weak scaling* (each device keeps its
batch, more devices do more) and *strong scaling* (the global batch stays, each device gets less).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

from common.analysis.comparing.contenders import ENOUGH_RUNS, how_well_measured
from common.analysis.comparing.facts import Facts, Scaling, closest, configuration, ddp_flags, facts, group_key, terms
from common.analysis.comparing.labels import METHOD_ORDER, label_rows, named_differences
from common.analysis.comparing.step_anatomy import StepAnatomy
from common.analysis.judging import row_checks
from common.analysis.judging.checks import Check
from common.analysis.reading.runs import Run
from common.analysis.statistics.estimates import Estimate, mean_of_runs, paired_ratio, ratio, standing_apart
from common.records import Method, Record


@dataclass(eq=False)
class Row:
    """One configuration: a method on some devices, run once or more."""

    runs: list[Run]
    label: str = ""
    """Short and unique within the group, see `labels.py`."""
    variant: str = ""
    """What tells this row from others of the same method and devices."""
    baseline: Row | None = None
    """The single-device row of the same group."""
    standard: Row | None = None
    """The row that differs in nothing but that DDP has its default options; None for such a row itself, for other
    methods, and where it was not run."""

    @property
    def record(self) -> Record:
        """The newest run's record, which stands for the configuration."""
        return self.runs[-1].record

    @property
    def method(self) -> Method:
        return self.record.method

    @property
    def devices(self) -> int:
        return self.record.world.devices

    @property
    def in_a_sentence(self) -> str:
        """The label as it stands within a sentence: `one device`, `DDP × 2`."""
        return "o" + self.label[1:] if self.method == "single" else self.label

    @property
    def is_valid(self) -> bool:
        """False where parity failed: then every speed is withheld."""
        return not self.runs[-1].failed_parity

    @cached_property
    def seconds_per_sample(self) -> Estimate | None:
        """Pooled over the runs; None where withheld."""
        return mean_of_runs([run.seconds_per_sample for run in self.runs]) if self.is_valid else None

    @property
    def throughput(self) -> Estimate | None:
        """Samples per second."""
        return self.seconds_per_sample.inverse() if self.seconds_per_sample else None

    @cached_property
    def epoch_samples(self) -> int:
        """Samples of a whole epoch: a resumed run may have begun with the rest of one."""
        return max(epoch.samples for run in self.runs for epoch in run.record.epochs)

    @property
    def epoch_time(self) -> Estimate | None:
        """Seconds for a whole epoch."""
        return self.seconds_per_sample.times(self.epoch_samples) if self.seconds_per_sample else None

    @cached_property
    def speed_up(self) -> Estimate | None:
        """Throughput over that of one device; None without a baseline, and for the baseline itself."""
        if self.baseline is None or self.throughput is None or self.baseline.throughput is None:
            return None
        return times_as_fast(self, self.baseline)

    @property
    def true_devices(self) -> bool:
        """False where several replicas share a device, so that no efficiency can be formed."""
        return not (self.record.world.shared or self.record.world.oversubscribed)

    @property
    def efficiency(self) -> Estimate | None:
        """Speed-up / devices, 1 being ideal; None where devices are shared or oversubscribed."""
        return self.speed_up.times(1 / self.devices) if self.speed_up and self.true_devices else None

    @property
    def anatomy(self) -> StepAnatomy | None:
        """Of the newest run that has one; None where parity failed, for then it is no step of this model."""
        return next((run.anatomy for run in reversed(self.runs) if run.anatomy), None) if self.is_valid else None

    @property
    def data_wait_share(self) -> float:
        """Share of the time that went into waiting for data, in the run that waited longest."""
        return max(run.data_wait_share for run in self.runs)

    @cached_property
    def apart(self) -> list[Run]:
        """Runs that stand apart from their repeats. They stay in the mean."""
        marks = standing_apart([run.seconds_per_sample for run in self.runs])
        return [run for run, mark in zip(self.runs, marks, strict=True) if mark]

    @cached_property
    def checks(self) -> list[Check]:
        """Self-checks that need more than one run: repeats that disagree, efficiency that is too good."""
        found = [row_checks.repeats(self)]
        if self.method != "single":
            found.append(row_checks.efficiency(self))
        return found

    @property
    def rounds(self) -> int:
        """Runs, as far as more of them make a row better measured."""
        return min(len(self.runs), ENOUGH_RUNS)

    @property
    def has_default_options(self) -> bool:
        """Whether this is DDP as it is without any of its flags."""
        return self.method == "ddp" and not ddp_flags(self.record.config.ddp)

    @cached_property
    def facts(self) -> Facts:
        return facts(self.record)


FEWEST_ROUNDS = 3


def times_as_fast(one: Row, other: Row) -> Estimate:
    """Throughput of `one` over that of `other`; neither may be withheld.

    Where the two were run in turn for three rounds or more, as `make lab` does, the runs of a round are a pair.
    """
    if in_turn(one, other):
        return paired_ratio(*([run.seconds_per_sample.value for run in row.runs] for row in (other, one)))
    return ratio(one.throughput, other.throughput)


def in_turn(one: Row, other: Row) -> bool:
    """Whether each of three or more rounds ran both rows once, before the next round began."""
    rounds = list(zip(*([run.record.started_at for run in row.runs] for row in (one, other)), strict=False))
    return len(one.runs) == len(other.runs) >= FEWEST_ROUNDS and all(
        max(this) < min(following) for this, following in pairwise(rounds)
    )


@dataclass(eq=False)
class Group:
    """Rows that may be compared with each other."""

    scaling: Scaling
    key: Facts
    rows: list[Row]
    differences: list[str] = field(default_factory=list)
    """What differs between the rows although they are compared."""

    @cached_property
    def main_rows(self) -> list[Row]:
        """The rows without those that only try other options of DDP: what methods are compared by."""
        return [row for row in self.rows if row.standard is None]


def build_groups(runs: Iterable[Run]) -> list[Group]:
    """Group the comparable runs (completed, with a speed); the best measured group first, weak scaling before strong.

    Every run is in its weak-scaling group. A strong-scaling group is added where runs of different device counts share
    their global batch; a weak-scaling group with nothing to compare then gives way to it.
    """
    usable = [run for run in runs if run.is_comparable]
    weak, strong = _group(usable, "weak"), _group(usable, "strong")
    strong = [group for group in strong if len({row.devices for row in group.rows}) > 1]
    compared = {run.file for group in strong for row in group.rows for run in row.runs}
    weak = [
        group
        for group in weak
        if len(group.rows) > 1 or any(run.file not in compared for row in group.rows for run in row.runs)
    ]
    return sorted(weak + strong, key=_telling, reverse=True)


def _telling(group: Group) -> tuple:
    quality, completed = how_well_measured(group.rows)
    return *quality, group.scaling == "weak", completed


def _group(runs: list[Run], scaling: Scaling) -> list[Group]:
    groups: dict[tuple, dict[tuple, list[Run]]] = {}
    keys: dict[tuple, Facts] = {}
    for run in runs:
        key = group_key(run.record, scaling)
        keys[tuple(key.values())] = key
        groups.setdefault(tuple(key.values()), {}).setdefault(configuration(run.record), []).append(run)
    return [_finish(Group(scaling, keys[key], [Row(runs) for runs in rows.values()])) for key, rows in groups.items()]


def _finish(group: Group) -> Group:
    """Find each row's standard, order and label the rows, find their baselines, name what differs."""
    _link_standards(group.rows)
    group.rows.sort(key=_place)
    label_rows(group.rows)
    singles = [row for row in group.rows if row.method == "single" and row.is_valid]
    for row in group.rows:
        if row.method != "single":
            row.baseline = closest(row.facts, singles, lambda single: single.facts)
    group.differences = named_differences(group.rows)
    return group


def _link_standards(rows: list[Row]) -> None:
    defaults = {terms(row.record): row for row in rows if row.has_default_options and row.is_valid}
    for row in rows:
        if row.method == "ddp" and not row.has_default_options:
            row.standard = defaults.get(terms(row.record))


def _place(row: Row) -> tuple:
    world, order = row.record.world, METHOD_ORDER[row.method]
    return row.devices > 1, row.devices, order, world.nodes, row.standard is not None, row.record.started_at
