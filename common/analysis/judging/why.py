"""Why the methods are as fast as they are, in one sentence each: the ideal step, and what goes beyond it."""

from __future__ import annotations

from math import inf

from common.analysis.comparing.rows import Row
from common.analysis.comparing.speedup import speedup
from common.analysis.comparing.utilisation import copy_seconds
from common.analysis.judging.headline import device_here
from common.analysis.judging.ledger import Ledger, verdict
from common.analysis.judging.ledger_items import Item
from common.analysis.judging.reasons import MAX_IDLE, what_a_new_thread_lacks
from common.analysis.statistics.estimates import distinguishable, outcome_of_ratio
from common.analysis.statistics.medians import is_cost, outcome_of_cost
from common.content.messages import Message, message
from common.records import METHODS, PhaseName

WORTH_SAYING = 0.1
"""Share of what a step loses from which a cause is named; or of a step, for the phase of a step without experiments."""
NOTHING = message("nothing")


def why(rows: list[Row], books: list[Ledger]) -> list[Message]:
    """Parts of the answer; empty without steps that were taken apart. A step is as long in it as the measured ones."""
    by_method = {row.method: row for row in rows if row.anatomy and (row.devices > 1 or not row.is_parallel)}
    dp, ddp, one = (by_method.get(method) for method in ("dp", "ddp", "single"))
    book_of = {book.row: book for book in books}
    # Said once, with the ideal, where it is the same for every method: how much the cores slow each other.
    common = [item for item in books[0].items if all(item in book.items for book in books)] if books else []
    slowed = next((item for item in common if item.id == "slowed" and item.seconds > 0), None)
    outcome = outcome_of_ratio(speedup(dp, ddp)) if dp and ddp else None
    found = [message(f"why.{outcome}")] if outcome in ("no_difference", "uncertain") else []
    if dp and _main_reason(book_of.get(dp)) == "ledger.host":
        is_slower = dp.speed_up.value < 1 and distinguishable(dp.speed_up)
        found.append(message("why.host", slower=message("why.slower") if is_slower else NOTHING))
    found += [_ideal(books, slowed)] if books else []
    if dp:
        book = book_of.get(dp)
        if grown := _grown_phase(dp, one or ddp):
            found.append(_takes(dp, None, grown))  # no item of the ledger, whose rest contains it
        elif (causes := _causes(dp, book, slowed)) or book:
            found.append(_takes(dp, book, causes))
    if ddp and (ddp.anatomy.exposed or ddp in book_of):
        causes = _causes(ddp, book_of.get(ddp), slowed)
        exchanges = any(cause.id == "why.cause.exchange" for cause in causes)
        found.append(_takes(ddp, book_of.get(ddp), causes if exchanges else [_exchange(ddp), *causes]))
    if any(_exceeded(book) for book in books):
        found.append(message("why.apart"))
    return [part for part in found if part]


def _exchange(ddp: Row) -> Message:
    """Where the exchange is no cause that could be named: that it costs nothing measurable, if that much is known."""
    exposed = ddp.anatomy.exposed
    outcome = outcome_of_cost(exposed, ddp.anatomy.slowest.step.value) if exposed else "uncertain"
    return message("why.exchange_uncertain" if outcome == "uncertain" else "why.no_exchange")


def _ideal(books: list[Ledger], slowed: Item | None) -> Message | None:
    """What a step would take on devices that cost one another nothing; nothing where the methods had not as many."""
    first, record = books[0], books[0].row.record
    if any(book.ideal != first.ideal for book in books):
        return None
    batch = first.row.baseline.record.config.global_batch_size
    return message(
        "why.ideal_weak" if batch * first.row.devices == record.config.global_batch_size else "why.ideal_strong",
        batch=batch,
        ideal=first.ideal.value,
        one=device_here(first.row),
        devices=first.row.devices,
        slowed=message("why.slowed", cost=slowed.seconds) if slowed else NOTHING,
    )


def _main_reason(book: Ledger | None) -> str:
    return verdict(book).id if book and book.says_something else ""


def _takes(row: Row, book: Ledger | None, causes: list[Message]) -> Message:
    """A method's step, and its causes."""
    values = {
        "method": message(f"short.{row.method}"),
        "step": row.step.value,
        "causes": causes or [message("why.no_loss" if book is None or book.is_narrow else "why.loss_uncertain")],
    }
    idle = row.anatomy.idle_share or 0.0
    if causes and book and book.items[-1].id == "hidden" and idle <= MAX_IDLE:
        return message("why.hidden", idle=idle, **values)
    over_link = copy_seconds(row) if METHODS[row.method].has_replicas and causes else None
    is_over_link = _main_reason(book) == "ledger.bytes"
    return message(
        "why.takes",
        main=message("why.over_link", seconds=over_link) if is_over_link else NOTHING,
        bytes=_moving(row, over_link) if over_link and not is_over_link else NOTHING,
        rest=_rest(book) if book and book.says_something else NOTHING,
        **values,
    )


def _moving(row: Row, seconds: float) -> Message:
    return message("why.few_bytes" if seconds < WORTH_SAYING * row.step.value else "why.bytes", seconds=seconds)


def _causes(row: Row, book: Ledger | None, said: Item | None) -> list[Message]:
    """What is worth naming, the dearest first: of the ledger; without one, of the experiments alone."""
    if book:
        least = WORTH_SAYING * book.lost if book.says_something else inf
        items = [item for item in book.items[:-1] if item.interval and item.seconds >= least and item != said]
    else:
        of_dp = {"new_threads": row.anatomy.new_threads_cost, "new_replicas": row.anatomy.new_replicas_cost}
        prices = of_dp if METHODS[row.method].has_replicas else {"exchange": row.anatomy.exposed}
        items = [Item(id, cost.value, cost.interval) for id, cost in prices.items() if is_cost(cost)]
    items.sort(key=lambda item: (item.id != "exchange", -item.seconds))
    plans = message("why.plans") if what_a_new_thread_lacks(row).id != "nothing" else NOTHING
    return [message(f"why.cause.{item.id}", cost=item.seconds, plans=plans) for item in items]


def _exceeded(book: Ledger) -> bool:
    """Whether the causes are more than the loss by much of it, and not because something hides them."""
    rest = book.items[-1]
    return book.says_something and rest.id == "rest" and rest.seconds < -WORTH_SAYING * book.lost


def _rest(book: Ledger) -> Message:
    """What the causes leave of the loss, where that is much of it."""
    rest = book.items[-1]
    if rest.seconds < WORTH_SAYING * book.lost:
        return NOTHING
    may_be_chance = rest.interval is not None and rest.interval[0] <= 0
    return message("why.rest.chance" if may_be_chance else "why.rest.unexplained", rest=rest.seconds)


def _grown_phase(dp: Row, other: Row | None) -> list[Message]:
    """The phase that grew most, where no experiment says what DataParallel's parts cost."""
    if other is None or dp.anatomy.new_threads_cost:
        return []
    more, less = dp.anatomy.slowest.phases, other.anatomy.slowest.phases
    grown: dict[PhaseName, float] = {
        name: phase.value - (less[name].value if name in less else 0.0)
        for name, phase in more.items()
        if (phase.is_apart_from(less[name]) if name in less else phase.is_above_zero)
    }
    name = max(grown, key=grown.get, default=None)
    if name is None or grown[name] < WORTH_SAYING * dp.anatomy.slowest.step.value:
        return []
    if name not in less:
        return [message("why.cause.new_phase", phase=name, cost=more[name].value)]
    return [message("why.cause.phase", phase=name, cost=more[name].value, other=other.name, less=less[name].value)]
