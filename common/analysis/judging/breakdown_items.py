"""What a step costs beyond its ideal, item by item: each as an experiment of the same run has measured it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import hypot

import numpy as np

from common.analysis.comparing.rows import Row
from common.analysis.reading.step_profile import COPIES_OF_DP
from common.analysis.statistics.estimates import Estimate
from common.analysis.statistics.medians import Median, draws_of_estimate, draws_of_interval, middle

Interval = tuple[float, float]
LEAST_WAIT = 0.01
BEYOND_IDEAL = ("smaller_batch", "slowed")


@dataclass(frozen=True)
class Item:
    """A part of a step, in seconds."""

    id: str
    """Names the word `breakdown_item.<id>`."""
    seconds: float
    interval: Interval | None = None
    draws: np.ndarray | None = field(default=None, compare=False, repr=False)
    """What it would be with other rounds, where it comes from an experiment in rounds; items of the same rounds by the
    same draws."""

    @property
    def may_be_nothing(self) -> bool:
        """Whether it cannot be distinguished from 0."""
        return self.interval is not None and self.interval[0] <= 0 <= self.interval[1]

    @property
    def as_median(self) -> Median:
        """As tables want it."""
        return Median(self.seconds, 0, self.interval)


def items_of_dp(row: Row) -> list[Item | None]:
    """The cost of new threads and of new replicas, by experiment; and the phases in which the batch, logits and
    gradients move."""
    profile = row.profile
    phases = [profile.slowest.phases[name] for name in COPIES_OF_DP if name in profile.slowest.phases]
    moved = sum(phase.value for phase in phases)
    copies = Item("copies", moved, ends_of(moved, *(phase.interval for phase in phases))) if phases else None
    replicas = _item("new_replicas", profile.replicated.replicas_cost)
    if not replicas and not row.on_gpu:  # no experiment; on cores the phase has no idle device in it
        replicas = _item("new_replicas", profile.slowest.phases.get("replicate"))
    return [_item("new_threads", profile.replicated.threads_cost), replicas, copies]


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


def data_wait(row: Row, ideal: Estimate) -> Item | None:
    """CPU cores: what a step waits for its batch beyond what one device's does, which the ideal contains; nothing below
    a hundredth of a step. On GPUs a host that is ahead waits for nothing that is lost: there it is the data path."""
    one = row.baseline
    own, others = row.runs[-1].times.data_wait, one.runs[-1].times.data_wait.scaled(ideal.value / one.step.value)
    more = own.value - others.value
    if row.on_gpu or more < LEAST_WAIT * row.step.value:
        return None
    return Item("data_wait", more, ends_of(more, own.bounds, others.bounds))


def residual(row: Row, ideal: Estimate, measured: Estimate, known: Sequence[Item]) -> Item:
    """What no experiment isolates: measured − ideal − the items that are known.

    Its interval: the middle of what other rounds would give, and other runs. Costs from the same rounds are resampled
    together. Runs that were taken in rounds are compared in pairs; nothing else is known to belong together.
    """
    left = measured.value - ideal.value - sum(item.seconds for item in known)
    ratio = row.speed_up.scaled(1 / row.devices)  # ideal / measured
    shares = draws_of_estimate(ratio, seed=0)
    whole, free = (draws_of_estimate(one, seed) for seed, one in enumerate((measured, ideal), start=1))
    if whole is not None and any(item.id in BEYOND_IDEAL for item in known):
        lost = whole - ideal.value  # such an item is a step less the ideal, whose error cancels
    elif shares is not None:
        lost = measured.value * (1 - shares)
    elif whole is not None and free is not None:
        lost = whole - free
    else:
        return Item("residual", left)
    for seed, item in enumerate(known, start=3):
        if item.draws is None and item.interval is None:
            return Item("residual", left)
        lost = lost - (draws_of_interval(item.seconds, item.interval, seed) if item.draws is None else item.draws)
    return Item("residual", left, middle(lost), lost)


def _item(id: str, cost: Median | None) -> Item | None:
    return Item(id, cost.value, cost.interval, cost.draws) if cost else None


def ends_of(total: float, *parts: Interval | None) -> Interval | None:
    """Both ends of a sum or difference by the intervals of its parts; None where one of them has none.

    Errors are taken as independent, and half an interval as two standard errors: so is the half of a sum's.
    """
    if None in parts:
        return None
    reach = hypot(*((high - low) / 2 for low, high in parts))
    return total - reach, total + reach
