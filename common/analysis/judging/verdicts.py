"""Who is faster, pair by pair, and no further than the intervals carry; and what methods and devices are called."""

from __future__ import annotations

from collections.abc import Sequence

from common.analysis.comparing.facts import closest
from common.analysis.comparing.groups import Group
from common.analysis.comparing.rows import Row
from common.analysis.comparing.speedup import speedup
from common.analysis.statistics.estimates import Estimate, distinguishable, outcome_of_ratio
from common.content import Message, message
from common.records import METHODS, Record, World, method_order

WORTH_A_CHOICE = 1.02
"""A smaller lead is true and of no use: two machines of one kind differ by more."""


def group_verdicts(group: Group) -> list[Message]:
    """Every parallel row against one device, and against the methods before its own on as many devices (DDP to DP);
    across nodes against within one.

    Invalid rows stay out, and so do rows that only try options of DDP.
    """
    valid = [row for row in group.main_rows if row.is_valid]
    verdicts = [compare(row, row.baseline, row.speed_up) for row in valid if row.speed_up]
    rivals: dict[tuple, list[Row]] = {}
    for row in valid:
        if row.record.world.nodes == 1:
            rivals.setdefault((row.method, row.devices), []).append(row)
    for row in valid:
        across = [row.method] if row.record.world.nodes > 1 else []
        earlier = [method for method in list(METHODS)[: method_order(row.method)] if METHODS[method].is_parallel]
        for method in (*earlier, *across):
            rival = closest(row.facts, rivals.get((method, row.devices), []), lambda other: other.facts)
            if rival:
                verdicts.append(compare(row, rival, speedup(row, rival)))
    return verdicts


def compare(one: Row, other: Row, quotient: Estimate) -> Message:
    """How fast one row is compared with another, or that nobody can say which is faster.

    `quotient` is the throughput of `one` over that of `other`. All ratios stand in one orientation, so that they can be
    compared with each other: DDP over DP, and both over one device, be it faster or slower.
    """
    if method_order(one.method) < method_order(other.method):
        return compare(other, one, quotient.inverse())
    id, missing = f"verdict.{outcome_of_ratio(quotient)}", missing_runs(one, other)
    return message(id, one=one.name, other=other.name, ratio=quotient, missing=missing)


def missing_runs(*rows: Row) -> list[Message]:
    """`2 more runs of DDP × 2`: what a verdict about these rows takes; nothing where there are enough."""
    return missing_runs_of([(message("missing_runs.row", row=row.name), row.missing_runs) for row in rows])


def missing_runs_of(counted: Sequence[tuple[Message, int]]) -> list[Message]:
    """The same for anything that lacks so many runs."""
    by_count: dict[int, list[Message]] = {}
    for name, count in counted:
        by_count.setdefault(count, []).append(name)
    return [
        message(f"missing_runs.{'one' if count == 1 else 'some'}_of_{'each' if len(names) > 1 else 'it'}",
                count=count, rows=names)
        for count, names in sorted(by_count.items()) if count
    ]  # fmt: skip


def clearly_fastest(quotient: Estimate) -> bool:
    """Whether "fastest" may be said: the interval leaves out 1, and the difference is worth a choice."""
    return bool(distinguishable(quotient)) and quotient.value >= WORTH_A_CHOICE


def short_method(row: Row) -> Message:
    """The method in short: `DP`, `emulated DP`, `DDP on 2 nodes`."""
    return _placed(message(f"short.{row.method}"), row.record.world)


def device_here(row: Row) -> Message:
    """What one device is here."""
    return message("one.gpu" if row.on_gpu else "one.core")


def method_name(row: Row) -> Message:
    """The method in full."""
    if not row.is_parallel:
        return message("row.single_within")
    return _placed(message(f"method.{row.method}"), row.record.world)


def _placed(method: Message, world: World) -> Message:
    method = message("method.emulated", method=method) if world.emulated else method
    return message("method.on_nodes", method=method, nodes=world.nodes) if world.nodes > 1 else method


def rate_of(row: Row) -> Message:
    """`1,205 samples/s`, or tokens/s of a model that counts tokens."""
    return message(f"rate.{row.record.config.unit}", rate=row.rate)


def one_sample(row: Row) -> Message:
    """What a sample is, where that is not plain."""
    config = row.record.config
    return message(f"one_sample.{config.unit}", length=config.units_per_sample)


def counted_as(record: Record) -> Message:
    """What a run's samples are: images, samples, or sequences of so many tokens."""
    config = record.config
    return message(f"counted_as.{config.unit}", length=config.units_per_sample)
