"""Why the methods are as fast as they are, in one sentence each: the ideal step, and what goes beyond it."""

from math import inf

from common.analysis.comparing.rows import Row
from common.analysis.comparing.speedup import speedup
from common.analysis.comparing.utilisation import MAX_IDLE, bound, convolutions_planned_anew, not_the_link
from common.analysis.judging.breakdown import Breakdown, items_of_ddp
from common.analysis.judging.reasons import differing_phases
from common.analysis.judging.verdicts import counted_as, device_here
from common.analysis.statistics.estimates import distinguishable, outcome_of_ratio
from common.analysis.statistics.medians import Median, is_cost, outcome_of_cost
from common.content import Message, message
from common.records import METHODS

WORTH_SAYING = 0.1
"""Share of what a step loses from which a cause is named; or of a step, for the phase of a step without experiments."""
OF_EXCHANGE = ("exchange", "exchange_and_wrapper")
NOTHING = message("nothing")


def why(rows: list[Row], breakdowns: list[Breakdown]) -> list[Message]:
    """Parts of the answer; empty without steps that were profiled. A step is as long in it as the measured ones."""
    by_method = {row.method: row for row in rows if row.profile and (row.devices > 1 or not row.is_parallel)}
    dp, ddp, one = (by_method.get(method) for method in ("dp", "ddp", "single"))
    of_row = {breakdown.row: breakdown for breakdown in breakdowns}
    # Where the methods had as many devices, the ideal is the same, and with it how much the cores slow each other.
    same_ideal = bool(breakdowns) and all(breakdown.ideal == breakdowns[0].ideal for breakdown in breakdowns)
    slowed = breakdowns[0].items.get("slowed") if same_ideal else None
    timed = {row.method: row for row in rows if row.devices > 1 and row.true_devices}
    ratio = speedup(timed["ddp"], timed["dp"]) if {"dp", "ddp"} <= timed.keys() else None
    outcome = outcome_of_ratio(ratio) if ratio else None
    parts = [message(f"why.{outcome}", ratio=ratio)] if outcome in ("no_difference", "uncertain") else []
    parts += _main_reason(dp, of_row.get(dp)) if dp else _little_waiting(ddp) if ddp else _on_one_device(rows)
    if ddp and ddp.profile.idle_share is not None and bound(ddp).text == "bound.launches":
        parts.append(message("why.late_host", method=message("short.ddp"), idle=ddp.profile.idle_share,
                             link=not_the_link(ddp)))  # fmt: skip
    parts += [_ideal(breakdowns[0], slowed)] if same_ideal else []
    if dp:
        causes = _causes(dp, of_row.get(dp), slowed)
        if grown := _grown_phase(dp, one or ddp):
            parts.append(_takes(dp, None, [grown]))  # no item of the breakdown, whose rest contains it
        elif causes or dp in of_row:
            parts.append(_takes(dp, of_row.get(dp), _worded(dp, causes)))
    if ddp and (ddp.profile.exposed or ddp in of_row):
        causes = _causes(ddp, of_row.get(ddp), slowed)
        words = _worded(ddp, causes)
        if not any(id in OF_EXCHANGE for id in causes):  # that it costs nothing measurable, if that much is known
            exposed = ddp.profile.exposed
            is_known = exposed and outcome_of_cost(exposed, ddp.profile.slowest.step.value) != "uncertain"
            words.insert(0, message("why.no_exchange" if is_known else "why.exchange_uncertain"))
        parts.append(_takes(ddp, of_row.get(ddp), words))
    # The causes may be more than the loss by much of it, though nothing hides them.
    lossy = [breakdown for breakdown in breakdowns if breakdown.says_something and not breakdown.exceeds_loss]
    if any(breakdown.items["residual"].value < -WORTH_SAYING * breakdown.lost for breakdown in lossy):
        parts.append(message("why.apart"))
    return parts


def _main_reason(dp: Row, breakdown: Breakdown | None) -> list[Message]:
    """GPUs: new threads, where nothing costs DP's step more; else new threads and replicas, where these are most of it.
    On CPU cores one clock counts both launches and work."""
    if not dp.on_gpu or (breakdown and not breakdown.says_something):
        return []
    if breakdown and breakdown.exceeds_loss:
        idle = dp.profile.idle_share
        return [message("why.works_ahead", idle=idle)] if idle is not None and idle <= MAX_IDLE else []
    items = breakdown.items if breakdown else _causes(dp, None, None)
    is_slower = bool(breakdown and distinguishable(dp.speed_up) and dp.speed_up.value < 1)
    if max(items, key=lambda id: items[id].value, default=None) == "new_threads":
        cost = items["new_threads"].value
        is_enough = is_slower and cost > breakdown.measured.value - dp.devices * breakdown.ideal.value
        values, also = {"step": dp.step.value, "cost": cost}, NOTHING
        of = message("why.of_step", **values)
        if breakdown and cost < breakdown.lost:
            of = message("why.of_lost", lost=breakdown.lost, **values)
            copies = items["new_replicas"].value if "new_replicas" in items else 0.0
            rest = breakdown.lost - cost - copies
            if copies >= WORTH_SAYING * breakdown.lost and rest >= 0:  # costs that overlap are no pieces of a whole
                also = message("why.also", cost=copies, rest=rest)
        plans, slower = _said_if(repeats_planning(dp), "why.plan"), _said_if(is_enough, "why.slower")
        return [message("why.new_threads", plans=plans, slower=slower, also=also, of=of)]
    is_host = breakdown and breakdown.verdict == "host"
    return [message("why.host", slower=_said_if(is_slower, "why.slower"))] if is_host else []


def _said_if(is_so: bool, id: str) -> Message:
    return message(id) if is_so else NOTHING


def _little_waiting(ddp: Row) -> list[Message]:
    """DDP without DP beside it: what gradients cost, where that is little."""
    exposed, step = ddp.profile.exposed, ddp.step.value
    is_little = is_cost(exposed) and exposed.value <= WORTH_SAYING * step
    return [message("why.little_waiting", cost=exposed.value, step=step)] if is_little else []


def _on_one_device(rows: list[Row]) -> list[Message]:
    """A machine of one device: that it has nobody to share with; before that, what DP's new threads would cost."""
    one, *others = rows
    if one.record.devices_there != 1:
        return []
    threads = one.profile.threads_of_forward if one.profile and not others else None
    parts = [message("why.one_device")]
    if threads and threads.timed == "step" and is_cost(one.profile.new_thread_cost):
        plans = _said_if(repeats_planning(one), "why.plan")
        parts.insert(0, message("why.in_a_new_thread", plans=plans, cost=one.profile.new_thread_cost))
    return parts


def repeats_planning(row: Row) -> bool:
    """Whether convolutions are planned again in a new thread: this model's, by the run on one device; where that has no
    such experiment, step 01's."""
    one = row.baseline or row
    threads = one.profile.threads_of_forward if one.profile else None
    if threads and threads.timed == "step":
        return any(layer.is_convolution for layer in threads.paying)
    return convolutions_planned_anew(row) is not None


def _ideal(breakdown: Breakdown, slowed: Median | None) -> Message:
    """What a step would take on devices that cost one another nothing."""
    row = breakdown.row
    batch = row.baseline.record.config.global_batch_size
    return message(
        "why.ideal_weak" if batch * row.devices == row.record.config.global_batch_size else "why.ideal_strong",
        batch=batch,
        what=counted_as(row.record),
        ideal=breakdown.ideal.value,
        one=device_here(row),
        devices=row.devices,
        slowed=message("why.slowed", cost=slowed.value) if slowed and slowed.value > 0 else NOTHING,
    )


def _takes(row: Row, breakdown: Breakdown | None, causes: list[Message]) -> Message:
    """A method's step, its causes, and what they leave of the loss where that is much of it."""
    is_known = breakdown is None or breakdown.is_narrow
    values = {
        "method": message(f"short.{row.method}"),
        "step": row.step.value,
        "causes": causes or [message("why.no_loss" if is_known else "why.loss_uncertain")],
    }
    idle, main, rest = row.profile.idle_share or 0.0, NOTHING, NOTHING
    if causes and breakdown and breakdown.exceeds_loss and idle <= MAX_IDLE:
        return message("why.hidden", idle=idle, **values)
    if breakdown and breakdown.says_something:
        if breakdown.verdict == "bytes":
            main = message("why.over_link", seconds=breakdown.over_link)
        left = breakdown.items["residual"]
        if left.value >= WORTH_SAYING * breakdown.lost:
            may_be_chance = left.interval is not None and left.interval[0] <= 0
            rest = message("why.rest.chance" if may_be_chance else "why.rest.unexplained", rest=left.value)
    return message("why.takes", main=main, rest=rest, **values)


def _causes(row: Row, breakdown: Breakdown | None, named: Median | None) -> dict[str, Median]:
    """What is worth naming, by its id, the exchange first and then the largest: of the breakdown, without what is
    `named` with the ideal; without a breakdown, of the experiments alone."""
    if breakdown:
        least = WORTH_SAYING * breakdown.lost if breakdown.says_something else inf
        causes = {id: cost for id, cost in breakdown.items.items()
                 if id != "residual" and cost.interval and cost.value >= least and cost != named}  # fmt: skip
    elif METHODS[row.method].has_replicas:
        costs = row.profile.replicated
        both = {"new_threads": costs.threads_cost, "new_replicas": costs.replicas_cost}
        causes = {id: cost for id, cost in both.items() if is_cost(cost)}
    else:
        causes = {
            id: cost for id, cost in items_of_ddp(row).items() if cost and (cost.is_above_zero or cost.is_below_zero)
        }
    return dict(sorted(causes.items(), key=lambda pair: (pair[0] not in OF_EXCHANGE, -pair[1].value)))


def _worded(row: Row, causes: dict[str, Median]) -> list[Message]:
    plans = _said_if(repeats_planning(row), "why.plans")
    return [message(f"why.cause.{id}", cost=cost.value, plans=plans) for id, cost in causes.items()]


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
