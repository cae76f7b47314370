"""Why the methods are as fast as they are, in one sentence each: the ideal step, and what goes beyond it."""

from collections.abc import Sequence

from common.analysis.comparing.rows import Row
from common.analysis.comparing.speedup import speedup
from common.analysis.comparing.utilisation import MAX_IDLE, bound, convolutions_planned_anew, not_the_link
from common.analysis.judging.breakdown import Breakdown, items_of_ddp
from common.analysis.judging.reasons import differing_phases
from common.analysis.judging.verdicts import counted_as, device_here
from common.analysis.statistics.estimates import outcome_of_ratio
from common.analysis.statistics.medians import Median, is_cost, outcome_of_cost
from common.content import Message, message
from common.records import METHODS

WORTH_SAYING = 0.1
"""Share of what a step loses from which a cause is named; or of a step, for the phase of a step without experiments."""
OF_EXCHANGE = {"exchange", "exchange_and_wrapper"}
NOTHING = message("nothing")


def why(rows: list[Row], breakdowns: list[Breakdown]) -> list[Message]:
    """Parts of the answer; empty without steps that were profiled. A step is as long in it as the measured ones."""
    profiled = {row.method: row for row in rows if row.profile and (row.devices > 1 or not row.is_parallel)}
    dp, ddp, one = (profiled.get(method) for method in ("dp", "ddp", "single"))
    breakdown_of = {breakdown.row: breakdown for breakdown in breakdowns}
    # Where the methods had as many devices, the ideal is the same, and with it how much the cores slow each other.
    same_ideal = bool(breakdowns) and all(breakdown.ideal == breakdowns[0].ideal for breakdown in breakdowns)
    left_out = ("residual", "slowed") if same_ideal else ("residual",)
    parts = _equally_fast(rows)
    parts += _main_reason(dp, breakdown_of.get(dp)) if dp else _little_waiting(ddp) if ddp else _on_one_device(rows)
    if ddp and ddp.profile.idle_share is not None and bound(ddp).text == "bound.launches":
        parts.append(message("why.late_host", method=message("short.ddp"), idle=ddp.profile.idle_share,
                             link=not_the_link(ddp)))  # fmt: skip
    if same_ideal:
        parts.append(_ideal(breakdowns[0]))
    for row in filter(None, (dp, ddp)):
        parts += _takes(row, breakdown_of.get(row), left_out, one or ddp)
    # The causes may be more than the loss by much of it, though nothing hides them.
    lossy = [breakdown for breakdown in breakdowns if breakdown.says_something and not breakdown.exceeds_loss]
    if any(breakdown.items["residual"].value < -WORTH_SAYING * breakdown.lost for breakdown in lossy):
        parts.append(message("why.apart"))
    return parts


def _equally_fast(rows: list[Row]) -> list[Message]:
    """That DP and DDP are, or that these runs do not show which is faster; nothing where one of them is."""
    timed = {row.method: row for row in rows if row.devices > 1 and row.true_devices}
    if not {"dp", "ddp"} <= timed.keys():
        return []
    ratio = speedup(timed["ddp"], timed["dp"])
    outcome = outcome_of_ratio(ratio)
    return [message(f"why.{outcome}", ratio=ratio)] if outcome in ("no_difference", "uncertain") else []


def _main_reason(dp: Row, breakdown: Breakdown | None) -> list[Message]:
    """GPUs: DP's new threads, where nothing costs its step more; else all work of its host, where that is most of the
    loss. On CPU cores one clock counts both launches and work."""
    if not dp.on_gpu or (breakdown and not breakdown.says_something):
        return []
    if breakdown and breakdown.exceeds_loss:
        idle = dp.profile.idle_share
        return [message("why.works_ahead", idle=idle)] if idle is not None and idle <= MAX_IDLE else []
    costs = _costs(dp, breakdown)
    if max(costs, key=lambda id: costs[id].value, default=None) == "new_threads":
        return [_new_threads(dp, breakdown)]
    if breakdown and breakdown.verdict == "host":
        is_slower = outcome_of_ratio(dp.speed_up) == "slower"
        return [message("why.host", slower=message("why.slower" if is_slower else "nothing"))]
    return []


def _new_threads(dp: Row, breakdown: Breakdown | None) -> Message:
    """What DP's new threads cost: a part of its loss, beside the other parts; or of its step."""
    cost = dp.profile.replicated.threads_cost.value
    is_enough = False
    if breakdown and outcome_of_ratio(dp.speed_up) == "slower":  # and without them it would be faster than one device
        is_enough = dp.step.value - cost < dp.devices * breakdown.ideal.value
    values = {"step": dp.step.value, "cost": cost, "slower": message("why.slower" if is_enough else "nothing"),
              "plans": message("why.plan" if repeats_planning(dp) else "nothing")}  # fmt: skip
    if breakdown is None or cost >= breakdown.lost:
        return message("why.threads_of_step", **values)
    copies = breakdown.items["new_replicas"].value if "new_replicas" in breakdown.items else 0.0
    rest, also = breakdown.lost - cost - copies, NOTHING
    if copies >= WORTH_SAYING * breakdown.lost and rest >= 0:  # costs that overlap are no pieces of a whole
        also = message("why.also", cost=copies, rest=rest)
    return message("why.threads_of_loss", lost=breakdown.lost, also=also, **values)


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
        plans = message("why.plan" if repeats_planning(one) else "nothing")
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


def _ideal(breakdown: Breakdown) -> Message:
    """What a step would take on devices that cost one another nothing."""
    row, slowed = breakdown.row, breakdown.items.get("slowed")
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


def _takes(row: Row, breakdown: Breakdown | None, left_out: Sequence[str], other: Row | None) -> list[Message]:
    """A method's step, its causes, and what they leave of the loss where that is much of it."""
    causes = _causes(row, breakdown, left_out)
    idle = row.profile.idle_share or 0.0
    main, rest = NOTHING, NOTHING
    if grown := _grown_phase(row, other):
        causes, breakdown = [grown], None  # it is no item of the breakdown, whose rest contains it
    values = {"method": message(f"short.{row.method}"), "step": row.step.value}
    if causes and breakdown and breakdown.exceeds_loss and idle <= MAX_IDLE:
        return [message("why.hidden", causes=causes, idle=idle, **values)]
    if breakdown and breakdown.says_something:
        if breakdown.verdict == "bytes":
            main = message("why.over_link", seconds=breakdown.over_link)
        left = breakdown.items["residual"]
        if left.value >= WORTH_SAYING * breakdown.lost:
            may_be_chance = left.interval is not None and left.interval[0] <= 0
            rest = message("why.rest.chance" if may_be_chance else "why.rest.unexplained", rest=left.value)
    if breakdown and not causes:
        causes = [message("why.no_loss" if breakdown.is_narrow else "why.loss_uncertain")]
    return [message("why.takes", causes=causes, main=main, rest=rest, **values)] if causes else []


def _causes(row: Row, breakdown: Breakdown | None, left_out: Sequence[str]) -> list[Message]:
    """What is worth naming: the exchange first, or that it costs nothing measurable; then the largest."""
    least = WORTH_SAYING * breakdown.lost if breakdown else 0.0
    named = {id: cost.value for id, cost in _costs(row, breakdown).items()
             if id not in left_out and cost.interval and cost.value >= least}  # fmt: skip
    if breakdown and not breakdown.says_something:
        named = {}
    order = sorted(named, key=lambda id: (id not in OF_EXCHANGE, -named[id]))
    plans = message("why.plans" if repeats_planning(row) else "nothing")
    causes = [message(f"why.cause.{id}", cost=named[id], plans=plans) for id in order]
    exposed = row.profile.exposed
    if METHODS[row.method].synchronises_gradients and not OF_EXCHANGE & named.keys() and (exposed or breakdown):
        is_known = exposed and outcome_of_cost(exposed, row.profile.slowest.step.value) != "uncertain"
        causes.insert(0, message("why.no_exchange" if is_known else "why.exchange_uncertain"))
    return causes


def _costs(row: Row, breakdown: Breakdown | None) -> dict[str, Median]:
    """The items of the breakdown; without one, what the experiments alone have found to cost something."""
    if breakdown:
        return breakdown.items
    costs, replicated = items_of_ddp(row), row.profile.replicated
    if METHODS[row.method].has_replicas:
        costs = {"new_threads": replicated.threads_cost, "new_replicas": replicated.replicas_cost}
    return {id: cost for id, cost in costs.items() if is_cost(cost)}


def _grown_phase(dp: Row, other: Row | None) -> Message | None:
    """The phase that grew most, where no experiment says what DataParallel's parts cost."""
    if not METHODS[dp.method].has_replicas or dp.profile.replicated.threads_cost or other is None:
        return None
    more, less = dp.profile.slowest.phases, other.profile.slowest.phases
    grown = differing_phases(dp, other)
    name = max(grown, key=grown.get, default=None)
    if name is None or grown[name] < WORTH_SAYING * dp.profile.slowest.step.value:
        return None
    if name not in less:
        return message("why.cause.new_phase", phase=name, cost=more[name].value)
    return message("why.cause.phase", phase=name, cost=more[name].value, other=other.name, less=less[name].value)
