"""The breakdown of a step's cost: from the step that costs nothing to the measured one, item by item.

Ideal: the seconds that one device needs for a step's samples / devices. What a step takes beyond that is lost. Items
are costs that experiments found within the same run (docs/measurement.md, "The breakdown"); what they leave is named.
"""

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Literal

from common.analysis.comparing.groups import Group
from common.analysis.comparing.rows import Row
from common.analysis.comparing.utilisation import copy_seconds
from common.analysis.reading.step_profile import COPIES_OF_DP
from common.analysis.statistics.estimates import Estimate, distinguishable, is_narrow
from common.analysis.statistics.medians import Median, draws_of_estimate, draws_of_interval, interval_of_sum, middle
from common.records import METHODS, method_order

LEAST_WAIT = 0.01
BEYOND_IDEAL = ("smaller_batch", "slowed")


@dataclass(frozen=True)
class Breakdown:
    """One row's step, by what costs it time."""

    row: Row
    ideal: Estimate
    """Seconds of a step on as many devices that cost one another nothing."""
    measured: Estimate
    """Seconds of a step in the measured epochs."""
    items: dict[str, Median]
    """Seconds by the id of their word, `breakdown_item.<id>`; a `count` of 0 is that of a sum or difference of others.
    They add up to measured − ideal; the last one is the residual, which no experiment isolates."""

    @property
    def lost(self) -> float:
        """Seconds of a step beyond the ideal; below zero where a step is better than that."""
        return self.measured.value - self.ideal.value

    @property
    def says_something(self) -> bool:
        """Whether anything was lost for certain."""
        return self.lost > 0 and distinguishable(self._ratio) is not False

    @property
    def is_narrow(self) -> bool:
        """Whether the loss is known well enough to say that there is none that can be measured."""
        return self._ratio.interval is not None and is_narrow(self._ratio.interval, self._ratio.value)

    @property
    def _ratio(self) -> Estimate:
        """Measured / ideal."""
        return self.row.speed_up.inverse().scaled(self.row.devices)

    @property
    def exceeds_loss(self) -> bool:
        """Whether the items of a GPU cost for certain more than is lost: the steps of their experiments begin with idle
        devices, and in training the host may work ahead of busy ones."""
        begins_idle = METHODS[self.row.method].has_replicas or self.row.profile.begins_idle
        return self.row.on_gpu and begins_idle and self.items["residual"].is_below_zero

    @cached_property
    def over_link(self) -> float | None:
        """Seconds for the bytes that DP moves, at the rate that step 01 measured."""
        return copy_seconds(self.row)

    @property
    def verdict(self) -> Literal["one_clock", "hidden", "bytes", "host"] | None:
        """What more than half of DP's loss is: the bytes over the link, the host's work, or neither. On CPU cores one
        clock counts both; `hidden` where it costs less than it should."""
        if not self.says_something or not METHODS[self.row.method].has_replicas:
            return None
        if not self.row.on_gpu:
            return "one_clock"
        if self.exceeds_loss:
            return "hidden"
        if self.over_link is None:
            return None
        host = sum(self.items[id].value for id in ("new_threads", "new_replicas") if id in self.items)
        return "bytes" if self.over_link > self.lost / 2 else "host" if host > self.lost / 2 else None


@cache
def breakdowns(group: Group) -> list[Breakdown]:
    """Those of the representative rows that had several devices to themselves and were profiled, DP first."""
    rows = {row.method: row for row in group.representatives}
    known = [row for row in rows.values() if row.devices > 1 and row.speed_up and row.true_devices and row.profile]
    return [_breakdown(row, rows.get("ddp")) for row in sorted(known, key=lambda row: method_order(row.method))]


def _breakdown(row: Row, ddp: Row | None) -> Breakdown:
    ideal = row.baseline.seconds_per_sample.scaled(row.record.config.global_batch_size / row.devices)
    items = {
        **_beyond_ideal(row, ddp, ideal),
        "data_path": _data_path(row),
        "data_wait": _data_wait(row, ideal),
        **(_items_of_dp(row) if METHODS[row.method].has_replicas else items_of_ddp(row)),
    }
    # What cannot be distinguished from nothing is no part of the loss that anybody could name.
    known = {id: cost for id, cost in items.items()
             if cost and (cost.is_above_zero or cost.is_below_zero or not cost.interval)}  # fmt: skip
    return Breakdown(row, ideal, row.step, {**known, "residual": _residual(row, ideal, known)})


def _items_of_dp(row: Row) -> dict[str, Median | None]:
    """The cost of new threads and of new replicas, by experiment; and the phases in which the batch, logits and
    gradients move."""
    profile = row.profile
    phases = [profile.slowest.phases[name] for name in COPIES_OF_DP if name in profile.slowest.phases]
    moved = sum(phase.value for phase in phases)
    replicas = profile.replicated.replicas_cost
    if not replicas and not row.on_gpu:  # no experiment; on cores the phase has no idle device in it
        replicas = profile.slowest.phases.get("replicate")
    return {
        "new_threads": profile.replicated.threads_cost,
        "new_replicas": replicas,
        "copies": Median(moved, 0, interval_of_sum(moved, *(phase.interval for phase in phases))) if phases else None,
    }


def items_of_ddp(row: Row) -> dict[str, Median | None]:
    """What the exchange adds, and what the wrapper does beside it, by experiment; both in one where no steps without an
    all-reduce were taken."""
    if row.profile.wrapper_cost:
        return {"exchange": row.profile.exposed, "wrapper": row.profile.wrapper_cost}
    return {"exchange_and_wrapper": row.profile.exposed}


def _beyond_ideal(row: Row, ddp: Row | None, ideal: Estimate) -> dict[str, Median]:
    """DDP's step without exchange, less the ideal: one device's own work on its share of the batch, while all work.

    Strong scaling: what a device loses because its share is smaller than one device's batch was. Else, on CPU cores,
    what each loses because the others work at the same time; on GPUs the steps that would show it begin with idle
    devices, and those of the ideal do not. Where DDP was not run beside DP, nobody knows.
    """
    share = row.record.config.per_device_batch_size
    is_smaller = share != row.baseline.record.config.per_device_batch_size
    if ddp is None or not ddp.profile or ddp.record.config.per_device_batch_size != share:
        return {}
    own = ddp.profile.step_without_exchange
    if own is None or (row.on_gpu and not is_smaller):
        return {}
    ends = own.interval and (own.interval[0] - ideal.value, own.interval[1] - ideal.value)
    return {"smaller_batch" if is_smaller else "slowed": Median(own.value - ideal.value, 0, ends)}


def _data_path(row: Row) -> Median | None:
    """What the loader costs a step beyond what it costs one device's, which the ideal contains."""
    one = row.baseline.profile and row.baseline.profile.data_path_cost
    own = row.profile.data_path_cost
    if not one or not own:
        return None
    more = own.value - one.value
    return Median(more, 0, interval_of_sum(more, own.interval, one.interval))


def _data_wait(row: Row, ideal: Estimate) -> Median | None:
    """CPU cores: what a step waits for its batch beyond what one device's does, which the ideal contains; nothing below
    a hundredth of a step. On GPUs a host that is ahead waits for nothing that is lost: there it is the data path."""
    one = row.baseline
    own, others = row.runs[-1].times.data_wait, one.runs[-1].times.data_wait.scaled(ideal.value / one.step.value)
    more = own.value - others.value
    if row.on_gpu or more < LEAST_WAIT * row.step.value:
        return None
    return Median(more, 0, interval_of_sum(more, own.bounds, others.bounds))


def _residual(row: Row, ideal: Estimate, known: dict[str, Median]) -> Median:
    """What no experiment isolates: measured − ideal − the items that are known.

    Its interval: the middle of what other rounds would give, and other runs. Costs from the same rounds are resampled
    together. Runs that were taken in rounds are compared in pairs; nothing else is known to belong together.
    """
    measured = row.step
    left = measured.value - ideal.value - sum(cost.value for cost in known.values())
    ratio = row.speed_up.scaled(1 / row.devices)  # ideal / measured
    shares = draws_of_estimate(ratio, seed=0)
    whole, free = (draws_of_estimate(one, seed) for seed, one in enumerate((measured, ideal), start=1))
    if whole is not None and any(id in known for id in BEYOND_IDEAL):
        lost = whole - ideal.value  # such an item is a step less the ideal, whose error cancels
    elif shares is not None:
        lost = measured.value * (1 - shares)
    elif whole is not None and free is not None:
        lost = whole - free
    else:
        return Median(left, 0)
    for seed, cost in enumerate(known.values(), start=3):
        if cost.interval is None:
            return Median(left, 0)
        lost = lost - (draws_of_interval(cost.value, cost.interval, seed) if cost.draws is None else cost.draws)
    return Median(left, 0, middle(lost), lost)
