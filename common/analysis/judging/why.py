"""Why the methods are as fast as they are, in one sentence each: the ideal step, and what goes beyond it."""

from math import inf

from common.analysis.comparing.rows import Row
from common.analysis.comparing.speedup import speedup
from common.analysis.comparing.utilisation import MAX_IDLE, bound, convolutions_planned_anew, not_the_link
from common.analysis.judging.breakdown import Breakdown, Item, items_of_ddp
from common.analysis.judging.reasons import differing_phases
from common.analysis.judging.verdicts import counted_as, device_here
from common.analysis.statistics.estimates import distinguishable, outcome_of_ratio
from common.analysis.statistics.medians import is_cost, outcome_of_cost
from common.content import Message, message
from common.records import METHODS

WORTH_SAYING = 0.1
"""Share of what a step loses from which a cause is named; or of a step, for the phase of a step without experiments."""
OF_EXCHANGE = ("exchange", "exchange_and_wrapper")
NOTHING = message("nothing")


def why(rows: list[Row], breakdowns: list[Breakdown]) -> list[Message]:
    """Parts of the answer; empty without steps that were taken apart. A step is as long in it as the measured ones."""
    by_method = {row.method: row for row in rows if row.profile and (row.devices > 1 or not row.is_parallel)}
    dp, ddp, one = (by_method.get(method) for method in ("dp", "ddp", "single"))
    of_row = {breakdown.row: breakdown for breakdown in breakdowns}
    # Said once, with the ideal, where it is the same for every method: how much the cores slow each other.
    slowed = _slowed(breakdowns)
    timed = {row.method: row for row in rows if row.devices > 1 and row.true_devices}
    ratio = speedup(timed["ddp"], timed["dp"]) if {"dp", "ddp"} <= timed.keys() else None
    outcome = outcome_of_ratio(ratio) if ratio else None
    parts = [message(f"why.{outcome}", ratio=ratio)] if outcome in ("no_difference", "uncertain") else []
    parts += _main_reason(dp, of_row.get(dp)) if dp else _little_waiting(ddp) if ddp else _on_one_device(rows)
    if ddp and ddp.profile.idle_share is not None and bound(ddp).text == "bound.launches":
        parts.append(message("why.late_host", method=message("short.ddp"), idle=ddp.profile.idle_share,
                             link=not_the_link(ddp)))  # fmt: skip
    parts += [_ideal(breakdowns, slowed)] if breakdowns else []
    if dp:
        if grown := _grown_phase(dp, one or ddp):
            parts.append(_takes(dp, None, [grown]))  # no item of the breakdown, whose rest contains it
        elif (causes := _causes(dp, of_row.get(dp), slowed)) or dp in of_row:
            parts.append(_takes(dp, of_row.get(dp), _worded(dp, causes)))
    if ddp and (ddp.profile.exposed or ddp in of_row):
        causes = _causes(ddp, of_row.get(ddp), slowed)
        without = [] if any(cause.id in OF_EXCHANGE for cause in causes) else [_no_exchange(ddp)]
        parts.append(_takes(ddp, of_row.get(ddp), [*without, *_worded(ddp, causes)]))
    if any(_exceeded(breakdown) for breakdown in breakdowns):
        parts.append(message("why.apart"))
    return [part for part in parts if part]


def _main_reason(dp: Row, breakdown: Breakdown | None) -> list[Message]:
    """GPUs: new threads, where nothing costs DP's step more; else new threads and replicas, where these are most of it.
    On CPU cores one clock counts both launches and work."""
    if not dp.on_gpu or (breakdown and not breakdown.says_something):
        return []
    if breakdown and breakdown.exceeds_loss:
        idle = dp.profile.idle_share
        return [message("why.works_ahead", idle=idle)] if idle is not None and idle <= MAX_IDLE else []
    items = breakdown.items if breakdown else _causes(dp, None, None)
    largest = max(items, key=lambda item: item.seconds, default=None)
    is_slower = bool(breakdown and distinguishable(dp.speed_up) and dp.speed_up.value < 1)
    if largest and largest.id == "new_threads":
        is_enough = is_slower and largest.seconds > breakdown.measured.value - dp.devices * breakdown.ideal.value
        plans, slower = (message(id if holds else "nothing") for id, holds in
                         (("why.plan", repeats_planning(dp)), ("why.slower", is_enough)))  # fmt: skip
        values, also = {"step": dp.step.value, "cost": largest.seconds}, NOTHING
        of = message("why.of_step", **values)
        if breakdown and largest.seconds < breakdown.lost:
            of = message("why.of_lost", lost=breakdown.lost, **values)
            copies = next((item.seconds for item in items if item.id == "new_replicas"), 0.0)
            rest = breakdown.lost - largest.seconds - copies
            if copies >= WORTH_SAYING * breakdown.lost and rest >= 0:  # costs that overlap are no pieces of a whole
                also = message("why.also", cost=copies, rest=rest)
        return [message("why.new_threads", plans=plans, slower=slower, also=also, of=of)]
    if _verdict(breakdown) != "host":
        return []
    return [message("why.host", slower=message("why.slower") if is_slower else NOTHING)]


def _little_waiting(ddp: Row) -> list[Message]:
    """DDP without DP beside it: what gradients cost, where that is little."""
    exposed, step = ddp.profile.exposed, ddp.step.value
    if not is_cost(exposed) or exposed.value > WORTH_SAYING * step:
        return []
    return [message("why.little_waiting", cost=exposed.value, step=step)]


def _on_one_device(rows: list[Row]) -> list[Message]:
    """A machine of one device: that it has nobody to share with; before that, what DP's new threads would cost."""
    one, *others = rows
    if one.record.devices_there != 1:
        return []
    threads = one.profile.threads_of_forward if one.profile and not others else None
    parts = [message("why.one_device")]
    if threads and threads.timed == "step" and is_cost(threads.new_cost):
        plans = message("why.plan" if repeats_planning(one) else "nothing")
        parts.insert(0, message("why.in_a_new_thread", plans=plans, cost=threads.new_cost))
    return parts


def repeats_planning(row: Row) -> bool:
    """Whether convolutions are planned again in a new thread: this model's, by the run on one device; where that has no
    such experiment, step 01's."""
    one = row.baseline or row
    threads = one.profile.threads_of_forward if one.profile else None
    if threads and threads.timed == "step":
        return any(layer.is_convolution for layer in threads.paying)
    return convolutions_planned_anew(row) is not None


def _slowed(breakdowns: list[Breakdown]) -> Item | None:
    if not breakdowns:
        return None
    first, *others = breakdowns
    return next((item for item in first.items if item.id == "slowed" and item.seconds > 0
                 and all(item in other.items for other in others)), None)  # fmt: skip


def _no_exchange(ddp: Row) -> Message:
    """Where the exchange is no cause that could be named: that it costs nothing measurable, if that much is known."""
    exposed = ddp.profile.exposed
    outcome = outcome_of_cost(exposed, ddp.profile.slowest.step.value) if exposed else "uncertain"
    return message("why.exchange_uncertain" if outcome == "uncertain" else "why.no_exchange")


def _ideal(breakdowns: list[Breakdown], slowed: Item | None) -> Message | None:
    """What a step would take on devices that cost one another nothing; nothing where the methods had not as many."""
    first, record = breakdowns[0], breakdowns[0].row.record
    if any(breakdown.ideal != first.ideal for breakdown in breakdowns):
        return None
    batch = first.row.baseline.record.config.global_batch_size
    return message(
        "why.ideal_weak" if batch * first.row.devices == record.config.global_batch_size else "why.ideal_strong",
        batch=batch,
        what=counted_as(first.row.record),
        ideal=first.ideal.value,
        one=device_here(first.row),
        devices=first.row.devices,
        slowed=message("why.slowed", cost=slowed.seconds) if slowed else NOTHING,
    )


def _verdict(breakdown: Breakdown | None) -> str | None:
    return breakdown.verdict if breakdown and breakdown.says_something else None


def _takes(row: Row, breakdown: Breakdown | None, causes: list[Message]) -> Message:
    """A method's step, and its causes."""
    is_known = breakdown is None or breakdown.is_narrow
    values = {
        "method": message(f"short.{row.method}"),
        "step": row.step.value,
        "causes": causes or [message("why.no_loss" if is_known else "why.loss_uncertain")],
    }
    idle = row.profile.idle_share or 0.0
    if causes and breakdown and breakdown.exceeds_loss and idle <= MAX_IDLE:
        return message("why.hidden", idle=idle, **values)
    main = message("why.over_link", seconds=breakdown.over_link) if _verdict(breakdown) == "bytes" else NOTHING
    rest = _rest(breakdown) if breakdown and breakdown.says_something else NOTHING
    return message("why.takes", main=main, rest=rest, **values)


def _causes(row: Row, breakdown: Breakdown | None, said: Item | None) -> list[Item]:
    """What is worth naming, the dearest first: of the breakdown; without one, of the experiments alone."""
    if breakdown:
        least = WORTH_SAYING * breakdown.lost if breakdown.says_something else inf
        items = [item for item in breakdown.items[:-1] if item.interval and item.seconds >= least and item != said]
    else:
        of_dp = {
            "new_threads": row.profile.replicated.threads_cost,
            "new_replicas": row.profile.replicated.replicas_cost,
        }
        if METHODS[row.method].has_replicas:
            items = [Item(id, cost.value, cost.interval) for id, cost in of_dp.items() if is_cost(cost)]
        else:
            items = [item for item in items_of_ddp(row) if item and not item.may_be_nothing and item.interval]
    return sorted(items, key=lambda item: (item.id not in OF_EXCHANGE, -item.seconds))


def _worded(row: Row, causes: list[Item]) -> list[Message]:
    plans = message("why.plans") if repeats_planning(row) else NOTHING
    return [message(f"why.cause.{cause.id}", cost=cause.seconds, plans=plans) for cause in causes]


def _exceeded(breakdown: Breakdown) -> bool:
    """Whether the causes are more than the loss by much of it, and not because something hides them."""
    rest = breakdown.residual
    return breakdown.says_something and not breakdown.exceeds_loss and rest.seconds < -WORTH_SAYING * breakdown.lost


def _rest(breakdown: Breakdown) -> Message:
    """What the causes leave of the loss, where that is much of it."""
    rest = breakdown.residual
    if rest.seconds < WORTH_SAYING * breakdown.lost:
        return NOTHING
    may_be_chance = rest.interval is not None and rest.interval[0] <= 0
    return message("why.rest.chance" if may_be_chance else "why.rest.unexplained", rest=rest.seconds)


def _grown_phase(dp: Row, other: Row | None) -> Message | None:
    """The phase that grew most, where no experiment says what DataParallel's parts cost."""
    if other is None or dp.profile.replicated.threads_cost:
        return None
    more, less = dp.profile.slowest.phases, other.profile.slowest.phases
    grown = differing_phases(dp, other)
    name = max(grown, key=grown.get, default=None)
    if name is None or grown[name] < WORTH_SAYING * dp.profile.slowest.step.value:
        return None
    if name not in less:
        return message("why.cause.new_phase", phase=name, cost=more[name].value)
    return message("why.cause.phase", phase=name, cost=more[name].value, other=other.name, less=less[name].value)
