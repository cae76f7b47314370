"""Who is faster, pair by pair, and which method to use, no further than the intervals carry; what methods are called.

The verdict, the first line of advice and the next command all follow from one decision.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from common.analysis.comparing.facts import grouped
from common.analysis.comparing.groups import Group
from common.analysis.comparing.row_names import closest
from common.analysis.comparing.rows import Row
from common.analysis.comparing.speedup import speedup
from common.analysis.statistics.estimates import Estimate, distinguishable, outcome_of_ratio
from common.content import Message, message
from common.records import METHODS, Record, World, method_order

WORTH_A_CHOICE = 1.02
"""A smaller lead is true and of no use: two machines of one kind differ by more."""
Choice = Literal[
    "nothing",  # no speed to report
    "alone",  # one method only was measured
    "one_device",  # its machine has no second device, so that parallel methods cannot be compared
    "no_wrapper",  # all ran on one device
    "failed",  # otherwise undecided, and runs of a method failed
    "more_rounds",  # too few runs for an interval
    "measure_longer",  # the interval is too wide to tell
    "tie",  # parallel methods of the same speed, both faster than one device
    "either",  # no parallel tie, and a difference of no use
    "use_single",
    "use_method",
]


def group_verdicts(group: Group) -> list[Message]:
    """Every parallel row against one device, and against the methods before its own on as many devices (DDP to DP);
    across nodes against within one.

    Invalid rows stay out, and so do rows that only try options of DDP.
    """
    valid = [row for row in group.main_rows if row.is_valid]
    verdicts = [compare(row, row.baseline, row.speed_up) for row in valid if row.speed_up]
    in_one_node = (row for row in valid if row.record.world.nodes == 1)
    rows_of = grouped(in_one_node, lambda row: (row.method, row.devices))
    for row in valid:
        methods = [name for name in list(METHODS)[: method_order(row.method)] if METHODS[name].is_parallel]
        if row.record.world.nodes > 1:
            methods.append(row.method)
        others = (closest(row.facts, rows_of.get((name, row.devices), [])) for name in methods)
        verdicts += [compare(row, other, speedup(row, other)) for other in others if other]
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


def wrapper_costs(group: Group) -> list[Message]:
    """What DP and DDP cost on a single device, where they have nothing to gain."""
    return [
        message(f"wrapper.{outcome_of_ratio(row.speed_up)}", row=row.name, ratio=row.speed_up,
                missing=missing_runs(row, row.baseline))
        for row in wrapped_rows(group)
    ]  # fmt: skip


def wrapped_rows(group: Group) -> list[Row]:
    """Rows of parallel methods on one device, where there is another one to compare them with."""
    return [row for row in group.main_rows if row.devices == 1 and row.is_parallel and row.speed_up]


def missing_runs(*rows: Row) -> list[Message]:
    """`2 more runs of DDP × 2`: what a verdict about these rows takes; nothing where there are enough."""
    return missing_runs_of([(message("missing_runs.row", row=row.name), row.missing_runs) for row in rows])


def missing_runs_of(counted: Sequence[tuple[Message, int]]) -> list[Message]:
    """The same for anything that lacks so many runs."""
    return [
        message(f"missing_runs.{'one' if count == 1 else 'some'}_of_{'each' if len(alike) > 1 else 'it'}",
                count=count, rows=[name for name, _ in alike])
        for count, alike in sorted(grouped(counted, lambda pair: pair[1]).items()) if count
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


def counted_as(record: Record) -> Message:
    """What a run's samples are: images, samples, or sequences of so many tokens."""
    config = record.config
    return message(f"counted_as.{config.unit}", length=config.units_per_sample)


@dataclass(frozen=True)
class Decision:
    """What to use of the rows that were measured."""

    choice: Choice
    fastest: Row | None = None
    """By value alone."""
    second: Row | None = None
    lead: Estimate | None = None
    """Throughput of the fastest over that of the second."""
    failed: Record | None = None
    """The newest run of a method that has no row, because its runs failed."""

    @property
    def is_settled(self) -> bool:
        """Whether it says which method to use."""
        return self.choice in ("tie", "either", "use_single", "use_method")


def decide(rows: Sequence[Row], failed: Sequence[Record] = ()) -> Decision:
    """Decide between one row of each method, as far as their intervals carry; `failed`: runs that did, newest last."""
    fastest, second, *_ = [*sorted(rows, key=lambda row: row.throughput.value, reverse=True), None, None]
    models, methods = {row.record.config.model for row in rows}, {row.method for row in rows}
    newest = next((run for run in reversed(failed) if run.method not in methods and not METHODS[run.method].variant_of
                   and (not rows or run.config.model in models)), None)  # fmt: skip
    on_one_device = all(row.devices == 1 for row in rows)
    lead = speedup(fastest, second) if second else None
    choice: Choice = "either"
    if fastest is None:
        choice = "nothing"
    elif has_one_device(fastest.record) and (second is None or not on_one_device):
        return Decision("one_device", fastest, failed=newest)
    elif second is None:
        choice = "alone"
    elif on_one_device:
        choice = "no_wrapper"
    elif lead.interval is None:
        choice = "more_rounds"
    elif clearly_fastest(lead):
        choice = "use_method" if fastest.is_parallel else "use_single"
    elif outcome_of_ratio(lead) == "uncertain":
        choice = "measure_longer"
    elif all(row.speed_up and outcome_of_ratio(row.speed_up) == "faster" for row in (fastest, second)):
        choice = "tie"
    if newest and choice in ("nothing", "alone", "more_rounds", "measure_longer"):
        choice = "failed"
    return Decision(choice, fastest, second, lead, newest)


def has_one_device(record: Record) -> bool:
    """Whether its machine has no second device, and there was no other machine."""
    return record.devices_there == record.world.nodes == 1


def recommended(decision: Decision) -> Row | None:
    """The row that a tie goes to: DDP's, as PyTorch advises; else the fastest."""
    if decision.choice != "tie":
        return decision.fastest
    return max((decision.fastest, decision.second), key=lambda row: METHODS[row.method].synchronises_gradients)
