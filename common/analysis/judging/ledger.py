"""The ledger of lost milliseconds: from the step that costs nothing to the measured one, item by item.

Ideal: the seconds that one device needs for a step's samples / devices. What a step takes beyond that is lost. Items
are prices that experiments found within the same run (docs/measurement.md, "The ledger"); what they leave is named.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot

from common.analysis.comparing.contenders import contenders
from common.analysis.comparing.groups import Group
from common.analysis.comparing.limits import copy_seconds
from common.analysis.comparing.rows import Row
from common.analysis.findings import Finding, finding
from common.analysis.judging.cells import Cell, Line, Table, columns
from common.analysis.reading.step_anatomy import COPIES_OF_DP
from common.analysis.statistics.estimates import Estimate, distinguishable, ratio
from common.analysis.statistics.medians import Median

Interval = tuple[float, float]


@dataclass(frozen=True)
class Item:
    """A part of a step, in seconds."""

    id: str
    """Names the word `ledger_item.<id>`."""
    seconds: float
    interval: Interval | None = None


@dataclass(frozen=True)
class Ledger:
    """One row's step, taken to pieces by price."""

    row: Row
    ideal: Estimate
    """Seconds of a step on as many devices that cost one another nothing."""
    measured: Estimate
    """Seconds of a step in the measured epochs."""
    items: tuple[Item, ...]
    """They add up to measured − ideal; the last one is what no experiment explains, or what DP hides of its prices."""

    @property
    def lost(self) -> float:
        """Seconds of a step beyond the ideal; below zero where a step is better than that."""
        return self.measured.value - self.ideal.value

    @property
    def says_something(self) -> bool:
        """Whether anything was lost for certain."""
        return self.lost > 0 and distinguishable(ratio(self.measured, self.ideal)) is not False


def ledgers(group: Group) -> list[Ledger]:
    """Those of the contenders that had several devices to themselves and were taken apart, DP first."""
    rows = {row.method: row for row in contenders(group.rows)}
    found = [rows[method] for method in ("dp", "ddp") if method in rows]
    return [_ledger(row, rows.get("ddp")) for row in found if row.speed_up and row.true_devices and row.anatomy]


def _ledger(row: Row, ddp: Row | None) -> Ledger:
    samples = row.record.config.global_batch_size
    ideal = row.baseline.seconds_per_sample.times(samples / row.devices)
    measured = row.step
    smaller = _smaller_batch(row, ddp, ideal) or _slowed(row, ddp, ideal)
    of_method = _dp_items(row, ideal, smaller) if row.method == "dp" else _ddp_items(row)
    waits = _waits(row, ideal, measured)
    # What cannot be told from nothing is no part of the loss that anybody could name.
    known = [item for item in (smaller, _data_path(row), *of_method) if item and not _may_be_nothing(item)]
    beside = [waits] if waits and not _may_be_nothing(waits) else []
    rest = measured.value - ideal.value - sum(item.seconds for item in (*known, *beside))
    # The waits have the errors of both means: beside them the rest is a difference of typical steps.
    of_means = [] if beside else [ideal.interval, measured.interval]
    ends = _ends(rest, *of_means, *(item.interval for item in known))
    # Prices are of steps that begin with idle devices. In training the host of DP may work ahead of busy ones.
    id = "hidden" if row.method == "dp" and row.on_gpu and ends and ends[1] < 0 else "rest"
    return Ledger(row, ideal, measured, (*known, *beside, Item(id, rest, ends)))


def _may_be_nothing(item: Item) -> bool:
    return item.interval is not None and item.interval[0] <= 0 <= item.interval[1]


def _waits(row: Row, ideal: Estimate, measured: Estimate) -> Item:
    """What an average step takes beyond a typical one, less the same of one device: the wait for an epoch's first
    batch, and rare long steps."""
    one = row.baseline
    share = ideal.value / one.step.value
    more = (measured.value - row.typical_step) - (ideal.value - share * one.typical_step)
    return Item("waits", more, _ends(more, ideal.interval, measured.interval))


def _ends(total: float, *parts: Interval | None) -> Interval | None:
    """Both ends of a sum or difference by the intervals of its parts; None where one of them has none.

    Errors are taken as independent, and half an interval as two standard errors: so is the half of a sum's.
    """
    if None in parts:
        return None
    reach = hypot(*((high - low) / 2 for low, high in parts))
    return total - reach, total + reach


def _item(id: str, cost: Median | None) -> Item | None:
    return Item(id, cost.value, cost.interval) if cost else None


def _dp_items(row: Row, ideal: Estimate, smaller: Item | None) -> list[Item | None]:
    """The price of new threads and of new replicas; the phases in which the batch, logits and gradients move; and what
    one process takes longer than that, with threads that are kept, since it launches the work of all devices.

    That last one is not known where a device's batch is smaller than one device's was and nobody knows what that costs.
    """
    found = row.anatomy
    phases = [found.slowest.phases[name] for name in COPIES_OF_DP if name in found.slowest.phases]
    moved = sum(phase.value for phase in phases)
    copies = Item("copies", moved, _ends(moved, *(phase.interval for phase in phases))) if phases else None
    replicas = _item("new_replicas", found.new_replicas_cost)
    if not replicas and not row.on_gpu:  # no experiment; on cores the phase has no idle device in it
        replicas = _item("new_replicas", found.slowest.phases.get("replicate"))
    items = [_item("new_threads", found.new_threads_cost), replicas, copies]
    kept = found.kinds_of_step.get("kept_threads_seconds")
    if row.on_gpu and kept and replicas and copies and (smaller or _has_the_same_batch(row)):
        parts = [part for part in (smaller, replicas, copies) if part]
        more = kept.value - ideal.value - sum(part.seconds for part in parts)
        ends = _ends(more, kept.interval, ideal.interval, *(part.interval for part in parts))
        if more > 0:  # else the devices set the pace
            items.append(Item("launches", more, ends))
    return items


def _ddp_items(row: Row) -> list[Item | None]:
    """What the exchange adds, by experiment. On GPUs the steps of that begin with idle devices, which wait for launches
    that a host far ahead has done before: there it is no more than what a typical step is longer than one device's."""
    exchange = _item("exchange", row.anatomy.exposed)
    if not exchange or not row.on_gpu or not _has_the_same_batch(row):
        return [exchange]
    longer = row.typical_step - row.baseline.typical_step
    if longer >= exchange.seconds:
        return [exchange]
    typical = [one.runs[-1].times.typical_step for one in (row, row.baseline)]
    return [Item("exchange", longer, _ends(longer, *(step.interval for step in typical)))]


def _data_path(row: Row) -> Item | None:
    """What the loader costs a step beyond what it costs one device's, which the ideal contains."""
    one = row.baseline.anatomy and row.baseline.anatomy.data_path_cost
    own = row.anatomy.data_path_cost
    if not one or not own:
        return None
    more = own.value - one.value
    return Item("data_path", more, _ends(more, own.interval, one.interval))


def _smaller_batch(row: Row, ddp: Row | None, ideal: Estimate) -> Item | None:
    """Strong scaling: what a device loses because its share of the batch is smaller than one device's batch was."""
    return None if _has_the_same_batch(row) else _beyond_ideal("smaller_batch", row, ddp, ideal)


def _slowed(row: Row, ddp: Row | None, ideal: Estimate) -> Item | None:
    """CPU cores: what each loses because the others work at the same time. On GPUs the steps that would show it begin
    with idle devices, and those of the ideal do not."""
    return None if row.on_gpu or not _has_the_same_batch(row) else _beyond_ideal("slowed", row, ddp, ideal)


def _beyond_ideal(id: str, row: Row, ddp: Row | None, ideal: Estimate) -> Item | None:
    """DDP's step without exchange, less the ideal: one device's own work on its share of the batch, while all work.
    Where DDP was not run beside DP, nobody knows."""
    share = row.record.config.per_device_batch_size
    if ddp is None or not ddp.anatomy or ddp.record.config.per_device_batch_size != share:
        return None
    own = ddp.anatomy.step_without_exchange
    if own is None:
        return None
    ends = own.interval and (own.interval[0] - ideal.value, own.interval[1] - ideal.value)
    return Item(id, own.value - ideal.value, ends)


def _has_the_same_batch(row: Row) -> bool:
    """Whether each device has as many samples as one device had."""
    return row.baseline.record.config.per_device_batch_size == row.record.config.per_device_batch_size


def told(book: Ledger) -> Finding:
    """The ledger in a sentence, with the verdict: bytes or host?"""
    row = book.row
    values = {
        "row": row.name,
        "samples": row.record.config.global_batch_size,
        "measured": book.measured.value,
        "devices": row.devices,
        "ideal": book.ideal.value,
        "lost": book.lost,
    }
    if not book.says_something:
        return finding("ledger.nothing_lost", **values)
    *known, rest = book.items
    shown = [_priced(item) for item in sorted(known, key=lambda item: -item.seconds)]
    return finding("ledger.lost", items=shown, rest=_priced(rest), verdict=verdict(book), **values)


def _priced(item: Item) -> Finding:
    values = {"item": finding(f"ledger_item.{item.id}"), "seconds": item.seconds, "item_interval": item}
    return finding("ledger.item" if item.interval else "ledger.item_without_interval", **values)


def verdict(book: Ledger) -> Finding:
    """What more than half of the loss is: the host's work, the bytes over the link, or neither."""
    if book.row.method != "dp":
        return finding("nothing")
    if not book.row.on_gpu:
        return finding("ledger.one_clock")
    if book.items[-1].id == "hidden":
        return finding("ledger.hidden")
    host = sum(item.seconds for item in book.items if item.id in ("new_threads", "new_replicas", "launches"))
    over_link = copy_seconds(book.row)
    if over_link is not None and over_link > book.lost / 2:
        return finding("ledger.bytes", seconds=over_link)
    if over_link is not None and host > book.lost / 2:
        return finding("ledger.host", seconds=over_link)
    return finding("nothing")


def ledger_table(books: list[Ledger]) -> Table:
    """Every item of every ledger; a line each."""
    shown = columns(("row", "method"), ("ledger_item", "ledger"), ("time", "ledger"))
    lines = []
    for book in books:
        ideal = Item("ideal", book.ideal.value, book.ideal.interval)
        whole = Item("measured", book.measured.value, book.measured.interval)
        for item in (ideal, *book.items, whole):
            cells = [Cell(finding(f"ledger_item.{item.id}")), Cell(item.seconds, "ms", interval=item.interval)]
            lines.append(Line([Cell(book.row.name), *cells], book.row.method, book.row.name))
    return Table("ledger", shown, lines, hint=finding("hint.ledger"))
