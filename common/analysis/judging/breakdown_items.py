"""What a step costs beyond its ideal, item by item: each as an experiment of the same run has measured it."""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot

from common.analysis.comparing.rows import Row
from common.analysis.reading.step_profile import COPIES_OF_DP
from common.analysis.statistics.estimates import Estimate
from common.analysis.statistics.medians import Median

Interval = tuple[float, float]


@dataclass(frozen=True)
class Item:
    """A part of a step, in seconds."""

    id: str
    """Names the word `breakdown_item.<id>`."""
    seconds: float
    interval: Interval | None = None

    @property
    def may_be_nothing(self) -> bool:
        """Whether it cannot be told from 0."""
        return self.interval is not None and self.interval[0] <= 0 <= self.interval[1]


def items_of_dp(row: Row, ideal: Estimate, smaller: Item | None) -> list[Item | None]:
    """The cost of new threads and of new replicas; the phases in which the batch, logits and gradients move; and what
    one process takes longer than that, with threads that are kept, since it launches the work of all devices.

    That last one is not known where a device's batch is smaller than one device's was and nobody knows what that costs.
    """
    profile = row.profile
    phases = [profile.slowest.phases[name] for name in COPIES_OF_DP if name in profile.slowest.phases]
    moved = sum(phase.value for phase in phases)
    copies = Item("copies", moved, ends_of(moved, *(phase.interval for phase in phases))) if phases else None
    replicas = _item("new_replicas", profile.replicated.replicas_cost)
    if not replicas and not row.on_gpu:  # no experiment; on cores the phase has no idle device in it
        replicas = _item("new_replicas", profile.slowest.phases.get("replicate"))
    items = [_item("new_threads", profile.replicated.threads_cost), replicas, copies]
    kept = profile.replicated.kinds.get("kept_threads_new_replicas")
    if row.on_gpu and kept and replicas and copies and (smaller or _has_the_same_batch(row)):
        parts = [part for part in (smaller, replicas, copies) if part]
        more = kept.value - ideal.value - sum(part.seconds for part in parts)
        ends = ends_of(more, kept.interval, ideal.interval, *(part.interval for part in parts))
        if more > 0:  # else the devices set the pace
            items.append(Item("launches", more, ends))
    return items


def items_of_ddp(row: Row) -> list[Item | None]:
    """What the exchange adds, and what the wrapper does beside it, by experiment; both in one where no steps without an
    all-reduce were taken."""
    if row.profile.wrapper_cost:
        return [_item("exchange", row.profile.exposed), _item("wrapper", row.profile.wrapper_cost)]
    return [_item("exchange_and_wrapper", row.profile.exposed)]


def data_path(row: Row) -> Item | None:
    """What the loader costs a step beyond what it costs one device's, which the ideal contains."""
    one = row.baseline.profile and row.baseline.profile.data_path_cost
    own = row.profile.data_path_cost
    if not one or not own:
        return None
    more = own.value - one.value
    return Item("data_path", more, ends_of(more, own.interval, one.interval))


def smaller_batch(row: Row, ddp: Row | None, ideal: Estimate) -> Item | None:
    """Strong scaling: what a device loses because its share of the batch is smaller than one device's batch was."""
    return None if _has_the_same_batch(row) else _beyond_ideal("smaller_batch", row, ddp, ideal)


def slowed(row: Row, ddp: Row | None, ideal: Estimate) -> Item | None:
    """CPU cores: what each loses because the others work at the same time. On GPUs the steps that would show it begin
    with idle devices, and those of the ideal do not."""
    return None if row.on_gpu or not _has_the_same_batch(row) else _beyond_ideal("slowed", row, ddp, ideal)


def _beyond_ideal(id: str, row: Row, ddp: Row | None, ideal: Estimate) -> Item | None:
    """DDP's step without exchange, less the ideal: one device's own work on its share of the batch, while all work.
    Where DDP was not run beside DP, nobody knows."""
    share = row.record.config.per_device_batch_size
    if ddp is None or not ddp.profile or ddp.record.config.per_device_batch_size != share:
        return None
    own = ddp.profile.step_without_exchange
    if own is None:
        return None
    ends = own.interval and (own.interval[0] - ideal.value, own.interval[1] - ideal.value)
    return Item(id, own.value - ideal.value, ends)


def _has_the_same_batch(row: Row) -> bool:
    """Whether each device has as many samples as one device had."""
    return row.baseline.record.config.per_device_batch_size == row.record.config.per_device_batch_size


def waits(row: Row, ideal: Estimate, measured: Estimate) -> Item:
    """What an average step takes beyond a typical one, less the same of one device: the wait for an epoch's first
    batch, and rare long steps."""
    one = row.baseline
    share = ideal.value / one.step.value
    more = (measured.value - row.typical_step) - (ideal.value - share * one.typical_step)
    return Item("waits", more, ends_of(more, ideal.interval, measured.interval))


def _item(id: str, cost: Median | None) -> Item | None:
    return Item(id, cost.value, cost.interval) if cost else None


def ends_of(total: float, *parts: Interval | None) -> Interval | None:
    """Both ends of a sum or difference by the intervals of its parts; None where one of them has none.

    Errors are taken as independent, and half an interval as two standard errors: so is the half of a sum's.
    """
    if None in parts:
        return None
    reach = hypot(*((high - low) / 2 for low, high in parts))
    return total - reach, total + reach
