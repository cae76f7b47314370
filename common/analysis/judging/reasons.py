"""Why the methods differ: the phase that tells them apart, what binds a step, and what the exchange costs."""

from common.analysis.comparing.groups import Group
from common.analysis.comparing.rows import Row
from common.analysis.comparing.utilisation import bound, convolutions_planned_anew, phase_rate
from common.analysis.judging.breakdown import Breakdown, Item, breakdowns
from common.analysis.judging.verdicts import counted_as
from common.analysis.reading.step_profile import PHASES
from common.analysis.reading.thread_costs import ForwardThreads
from common.analysis.statistics.medians import MIN_VALUES, Median, is_cost, outcome_of_cost
from common.content import Message, message
from common.records import FORWARD_THREADS, METHODS, PhaseName


def reasons(group: Group) -> list[Message]:
    """What the profile of representative rows' steps says, the largest difference first; nothing without profiles.

    What the breakdown of a row contains is not said again.
    """
    rows = {row.method: row for row in group.representatives if row.profile}
    sentences = []
    one, other = rows.get("dp") or rows.get("ddp"), rows.get("ddp") if "dp" in rows else None
    if one and (other := other or rows.get("single")):
        sentences.append(largest_difference(one, other))
    broken_down = {breakdown.row for breakdown in breakdowns(group)}
    alone = [row for row in rows.values() if row not in broken_down]
    sentences += [thread_cost(row) for row in alone if row.profile.replicated.threads_cost]
    sentences += [bound(row) for row in rows.values() if row.profile.idle_share is not None]
    sentences += [data_path_cost(row) for row in rows.values() if is_cost(row.profile.data_path_cost)]
    several = [row for row in rows.values() if row.devices > 1]
    # What DP moves is in its thread_cost, by experiment; the difference of its phases would be another figure for it.
    others = [row for row in several if row in alone and not row.profile.replicated.threads_cost]
    sentences += [exposed_cost(row) for row in others if row.profile.exposed]
    return sentences + [wrapper_work(row) for row in others if row.profile.wrapper_cost]


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


def largest_difference(one: Row, other: Row) -> Message:
    """The phase in which two rows differ most, with its number; differences within the steps' scatter do not count."""
    gaps = differing_phases(one, other)
    if not gaps:
        steps = min(row.profile.slowest.step.count for row in (one, other))
        id = "reason.too_few_steps" if steps < MIN_VALUES else "reason.no_difference"
        return message(id, one=one.name, other=other.name, steps=steps)
    name = max(gaps, key=lambda phase: abs(gaps[phase]))
    more, less = (one, other) if gaps[name] > 0 else (other, one)
    spent = less.profile.slowest.phases.get(name)
    return message(
        "reason.phase" if spent else "reason.phase_of_one",
        more=more.name,
        less=less.name,
        phase=name,
        more_seconds=more.profile.slowest.phases[name].value,
        less_seconds=spent.value if spent else 0.0,
        moved=_moved(more, name),
    )


def differing_phases(one: Row, other: Row) -> dict[PhaseName, float]:
    """Seconds that a phase takes longer in one row's steps than in another's, below zero where it takes less; without
    differences within the steps' scatter."""
    gaps: dict[PhaseName, float] = {}
    for name in PHASES:
        here, there = (row.profile.slowest.phases.get(name) for row in (one, other))
        if here and there:
            if here.is_apart_from(there):
                gaps[name] = here.value - there.value
        elif (alone := here or there) and alone.is_above_zero:
            gaps[name] = alone.value if here else -alone.value
    return gaps


def _moved(row: Row, name: PhaseName) -> Message:
    """What a phase moves between devices, in brackets."""
    size, rate = row.profile.bytes_moved.get(name), phase_rate(row, name)
    id = "moved.nothing" if not size else "moved.bytes_and_rate" if rate else "moved.bytes"
    return message(id, bytes=size, bytes_per_second=rate)


def thread_cost(row: Row) -> Message:
    """What DataParallel's threads and replicas cost a step, by experiment."""
    cost, copies = row.profile.replicated.threads_cost, row.profile.replicated.replicas_cost
    step = row.profile.slowest.step.value
    planned, lacks = convolutions_planned_anew(row), message("nothing")
    if planned:
        first, known = planned.first_convolution_seconds, planned.convolution_seconds
        lacks = message("threads.convolutions", first=first, known=known)
    return message(
        f"threads.{outcome_of_cost(cost, step)}",
        row=row.name,
        cost=cost,
        interval=median_interval(cost),
        because=lacks,
        replicas=message(
            f"replicas.{outcome_of_cost(copies, step)}",
            cost=copies,
            interval=median_interval(copies),
            interaction=_interaction(row),
        ),
    )


def _interaction(row: Row) -> Message:
    """Whether threads and replicas cost more together, or less; nothing where neither is certain."""
    interaction = row.profile.replicated.interaction
    if interaction is None or not (interaction.is_above_zero or interaction.is_below_zero):
        return message("nothing")
    more = interaction if interaction.is_above_zero else interaction.negated()
    id = "interaction.cost" if interaction.is_above_zero else "interaction.less"
    return message(id, interaction=more, interval=median_interval(more))


def new_thread_lines(row: Row) -> list[Message]:
    """What was measured of a row of one device, and what follows."""
    threads = row.profile.threads_of_forward
    kinds: dict[str, float] = {kind: threads.kinds[kind].value for kind in FORWARD_THREADS}
    outcome = outcome_of_cost(threads.new_cost, kinds["main_thread"])
    values = {"row": row.name, "cost": threads.new_cost, "interval": median_interval(threads.new_cost),
              "samples": threads.samples, **kinds}  # fmt: skip
    lines = [message(f"new_thread.{threads.timed}_{outcome}", **values)]
    if threads.timed == "step" and outcome == "cost":
        lines += [*_of_layers(threads), message("new_thread.replicas", cost=threads.new_cost)]
    return lines


def _of_layers(threads: ForwardThreads) -> list[Message]:
    """Which layers pay, and whether they are the ones that differ in shape."""
    paying, all_of_them = threads.paying, threads.convolutions
    convolutions = [layer for layer in all_of_them if layer.pays]
    if not paying:
        return []
    different = [layer for layer in all_of_them if not layer.same_as]
    others = len(paying) - len(convolutions)
    return [
        message(
            "new_thread.layers_same" if convolutions and convolutions == different else "new_thread.layers_others",
            paying=len(convolutions),
            convolutions=len(all_of_them),
            different=len(different),
            others=message("new_thread.with_others", count=others) if others else message("nothing"),
            seconds=sum(layer.extra for layer in paying),
        )
    ]


def data_path_cost(row: Row) -> Message:
    """What feeding a step costs beside what the devices compute."""
    cost = row.profile.data_path_cost
    return message("data_path.costs", row=row.name, cost=cost, interval=median_interval(cost))


def exposed_cost(row: Row) -> Message:
    """What moving data between devices adds to a row's step."""
    exposed = row.profile.exposed
    synchronises = METHODS[row.method].synchronises_gradients
    what = "replicas" if not synchronises else "gradients" if row.profile.wrapper_cost else "gradients_and_wrapper"
    outcome = outcome_of_cost(exposed, row.profile.slowest.step.value)
    values = {
        "what": message(f"exposed.{what}"),
        "row": row.name,
        "exposed": exposed,
        "share": row.profile.exposed_share,
        "interval": median_interval(exposed),
    }
    how = "adds_from_idle" if synchronises and row.on_gpu and row.profile.begins_idle else "adds"
    adds = outcome == "cost" or not exposed.interval
    return Message(f"exposed.{how if adds else outcome}", values)


def wrapper_work(row: Row) -> Message:
    """What DDP does beside the exchange: its work on the host, and gradients copied into buckets."""
    cost = row.profile.wrapper_cost
    outcome = outcome_of_cost(cost, row.profile.slowest.step.value)
    return message(f"wrapper_work.{outcome}", row=row.name, cost=cost, interval=median_interval(cost))


def median_interval(median: Median) -> Message:
    """The interval with its coverage; or why there is none."""
    if median.interval is None:
        return message("interval.none", count=median.count, least=MIN_VALUES)
    return message("interval.of_median", median=median, coverage=median.coverage, count=median.count)
