"""The ledger of lost milliseconds: from the step that costs nothing to the measured one, item by item.

Ideal: the seconds that one device needs for a step's samples / devices. What a step takes beyond that is lost. Items
are prices that experiments found within the same run (docs/measurement.md, "The ledger"); what they leave is named.
"""

from __future__ import annotations

from dataclasses import dataclass

from common.analysis.comparing.groups import Group
from common.analysis.comparing.rows import Row
from common.analysis.comparing.utilisation import copy_seconds
from common.analysis.judging.cells import Cell, Line, Table, columns
from common.analysis.judging.ledger_items import (
    Item,
    data_path,
    ends_of,
    items_of_ddp,
    items_of_dp,
    slowed,
    smaller_batch,
    waits,
)
from common.analysis.statistics.estimates import Estimate, distinguishable, is_narrow
from common.content.messages import Message, message
from common.records import METHODS, method_order


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
        return self.lost > 0 and distinguishable(self._ratio) is not False

    @property
    def is_narrow(self) -> bool:
        """Whether the loss is known well enough to say that there is none that can be measured."""
        return self._ratio.interval is not None and is_narrow(self._ratio.interval, self._ratio.value)

    @property
    def _ratio(self) -> Estimate:
        """Measured / ideal."""
        return self.row.speed_up.inverse().scaled(self.row.devices)


def ledgers(group: Group) -> list[Ledger]:
    """Those of the representative rows that had several devices to themselves and were taken apart, DP first."""
    rows = {row.method: row for row in group.representatives}
    found = sorted(rows.values(), key=lambda row: method_order(row.method))
    found = [row for row in found if row.devices > 1 and row.speed_up and row.true_devices and row.anatomy]
    return [_ledger(row, rows.get("ddp")) for row in found]


def _ledger(row: Row, ddp: Row | None) -> Ledger:
    samples = row.record.config.global_batch_size
    ideal = row.baseline.seconds_per_sample.scaled(samples / row.devices)
    measured = row.step
    smaller = smaller_batch(row, ddp, ideal) or slowed(row, ddp, ideal)
    of_method = items_of_dp(row, ideal, smaller) if METHODS[row.method].has_replicas else items_of_ddp(row)
    late = waits(row, ideal, measured)
    # What cannot be told from nothing is no part of the loss that anybody could name.
    known = [item for item in (smaller, data_path(row), *of_method) if item and not item.may_be_nothing]
    beside = [] if late.may_be_nothing else [late]
    rest = measured.value - ideal.value - sum(item.seconds for item in (*known, *beside))
    # The waits have the errors of both means: beside them the rest is a difference of typical steps.
    of_means = [] if beside else [ideal.interval, measured.interval]
    ends = ends_of(rest, *of_means, *(item.interval for item in known))
    # Prices are of steps that begin with idle devices. In training the host of DP may work ahead of busy ones.
    id = "hidden" if METHODS[row.method].has_replicas and row.on_gpu and ends and ends[1] < 0 else "rest"
    return Ledger(row, ideal, measured, (*known, *beside, Item(id, rest, ends)))


def told(book: Ledger) -> Message:
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
        return message("ledger.nothing_lost" if book.is_narrow else "ledger.uncertain", **values)
    *known, rest = book.items
    shown = [_priced(item) for item in sorted(known, key=lambda item: -item.seconds)]
    return message("ledger.lost", items=shown, rest=_priced(rest), verdict=verdict(book), **values)


def _priced(item: Item) -> Message:
    values = {"item": message(f"ledger_item.{item.id}"), "seconds": item.seconds, "item_interval": item}
    return message("ledger.item" if item.interval else "ledger.item_without_interval", **values)


def verdict(book: Ledger) -> Message:
    """What more than half of the loss is: the host's work, the bytes over the link, or neither."""
    if not METHODS[book.row.method].has_replicas:
        return message("nothing")
    if not book.row.on_gpu:
        return message("ledger.one_clock")
    if book.items[-1].id == "hidden":
        return message("ledger.hidden")
    host = sum(item.seconds for item in book.items if item.id in ("new_threads", "new_replicas", "launches"))
    over_link = copy_seconds(book.row)
    if over_link is not None and over_link > book.lost / 2:
        return message("ledger.bytes", seconds=over_link)
    if over_link is not None and host > book.lost / 2:
        return message("ledger.host", seconds=over_link)
    return message("nothing")


def ledger_table(books: list[Ledger]) -> Table:
    """Every item of every ledger; a line each."""
    shown = columns(("row", "method"), ("ledger_item", "ledger"), ("time", "ledger"))
    lines = []
    for book in books:
        ideal = Item("ideal", book.ideal.value, book.ideal.interval)
        whole = Item("measured", book.measured.value, book.measured.interval)
        for item in (ideal, *book.items, whole):
            cells = [Cell(message(f"ledger_item.{item.id}")), Cell(item.seconds, "ms", interval=item.interval)]
            lines.append(Line([Cell(book.row.name), *cells], book.row.method, book.row.name))
    return Table("ledger", shown, lines, hint=message("hint.ledger"))
