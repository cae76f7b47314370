"""The breakdown of a step's cost: from the step that costs nothing to the measured one, item by item.

Ideal: the seconds that one device needs for a step's samples / devices. What a step takes beyond that is lost. Items
are costs that experiments found within the same run (docs/measurement.md, "The breakdown"); what they leave is named.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Literal

from common.analysis.comparing.groups import Group
from common.analysis.comparing.rows import Row
from common.analysis.comparing.utilisation import copy_seconds
from common.analysis.judging.breakdown_items import (
    Item,
    data_path,
    data_wait,
    items_of_ddp,
    items_of_dp,
    residual,
    slowed,
    smaller_batch,
)
from common.analysis.judging.verdicts import counted_as
from common.analysis.statistics.estimates import Estimate, distinguishable, is_narrow
from common.content import Message, message
from common.records import METHODS, method_order


@dataclass(frozen=True)
class Breakdown:
    """One row's step, by what costs it time."""

    row: Row
    ideal: Estimate
    """Seconds of a step on as many devices that cost one another nothing."""
    measured: Estimate
    """Seconds of a step in the measured epochs."""
    items: tuple[Item, ...]
    """They add up to measured − ideal; the last one is the residual, which no experiment isolates."""

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
    def residual(self) -> Item:
        """What no experiment isolates."""
        return self.items[-1]

    @property
    def exceeds_loss(self) -> bool:
        """Whether the items of a GPU cost for certain more than is lost: the steps of their experiments begin with idle
        devices, and in training the host may work ahead of busy ones."""
        begins_idle = METHODS[self.row.method].has_replicas or self.row.profile.begins_idle
        return self.row.on_gpu and begins_idle and self.residual.interval is not None and self.residual.interval[1] < 0

    @cached_property
    def over_link(self) -> float | None:
        """Seconds for the bytes that DP moves, at the rate that step 01 measured."""
        return copy_seconds(self.row)

    @property
    def verdict(self) -> Literal["one_clock", "hidden", "bytes", "host"] | None:
        """What more than half of DP's loss is: the bytes over the link, the host's work, or neither. On CPU cores one
        clock counts both; `hidden` where it costs less than it should."""
        if not METHODS[self.row.method].has_replicas:
            return None
        if not self.row.on_gpu:
            return "one_clock"
        if self.exceeds_loss:
            return "hidden"
        host = sum(item.seconds for item in self.items if item.id in ("new_threads", "new_replicas"))
        if self.over_link is not None and self.over_link > self.lost / 2:
            return "bytes"
        return "host" if self.over_link is not None and host > self.lost / 2 else None


@cache
def breakdowns(group: Group) -> list[Breakdown]:
    """Those of the representative rows that had several devices to themselves and were taken apart, DP first."""
    rows = {row.method: row for row in group.representatives}
    parallel = sorted(rows.values(), key=lambda row: method_order(row.method))
    known = [row for row in parallel if row.devices > 1 and row.speed_up and row.true_devices and row.profile]
    return [_breakdown(row, rows.get("ddp")) for row in known]


def _breakdown(row: Row, ddp: Row | None) -> Breakdown:
    samples = row.record.config.global_batch_size
    ideal = row.baseline.seconds_per_sample.scaled(samples / row.devices)
    measured = row.step
    smaller = smaller_batch(row, ddp, ideal) or slowed(row, ddp, ideal)
    of_method = items_of_dp(row) if METHODS[row.method].has_replicas else items_of_ddp(row)
    # What cannot be distinguished from nothing is no part of the loss that anybody could name.
    items = (smaller, data_path(row), data_wait(row, ideal), *of_method)
    known = [item for item in items if item and not item.may_be_nothing]
    return Breakdown(row, ideal, measured, (*known, residual(row, ideal, measured, known)))


def sentence_of(breakdown: Breakdown) -> Message:
    """The breakdown in a sentence, with the verdict: bytes or host?"""
    row = breakdown.row
    values = {
        "row": row.name,
        "samples": row.record.config.global_batch_size,
        "what": counted_as(row.record),
        "measured": breakdown.measured.value,
        "devices": row.devices,
        "ideal": breakdown.ideal.value,
        "lost": breakdown.lost,
    }
    if not breakdown.says_something:
        return message("breakdown.nothing_lost" if breakdown.is_narrow else "breakdown.uncertain", **values)
    verdict = breakdown.verdict
    words = message(f"breakdown.{verdict}", seconds=breakdown.over_link) if verdict else message("nothing")
    shown = [_cost(item) for item in sorted(breakdown.items[:-1], key=lambda item: -item.seconds)]
    return message("breakdown.lost", items=shown, rest=_cost(breakdown.residual), verdict=words, **values)


def _cost(item: Item) -> Message:
    values = {"item": message(f"breakdown_item.{item.id}"), "seconds": item.seconds, "item_interval": item}
    return message("breakdown.item" if item.interval else "breakdown.item_without_interval", **values)
