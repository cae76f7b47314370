"""Why the methods differ: the phase that tells them apart, what binds a step, and what the exchange costs."""

from typing import Any

from common.analysis.comparing.groups import Group
from common.analysis.comparing.rows import Row
from common.analysis.comparing.utilisation import bound, convolutions_planned_anew, phase_rate
from common.analysis.judging.breakdown import Breakdown, breakdowns
from common.analysis.judging.verdicts import counted_as
from common.analysis.reading.step_profile import PHASES
from common.analysis.statistics.medians import MIN_VALUES, Median, is_cost, outcome_of_cost
from common.content import Message, message
from common.records import METHODS, PhaseName

NOTHING = message("nothing")


def reasons(group: Group) -> list[Message]:
    """What the profile of representative rows' steps says, the largest difference first; nothing without profiles.

    What the breakdown of a row contains is not said again.
    """
    rows = {row.method: row for row in group.representatives if row.profile}
    compared = [rows[method] for method in ("dp", "ddp", "single") if method in rows][:2]
    sentences = [largest_difference(*compared)] if len(compared) > 1 else []
    broken_down = {breakdown.row for breakdown in breakdowns(group)}
    alone = [row for row in rows.values() if row not in broken_down]
    sentences += [thread_cost(row) for row in alone if row.profile.replicated.threads_cost]
    sentences += [bound(row) for row in rows.values() if row.profile.idle_share is not None]
    sentences += [_of_cost("data_path.costs", row, row.profile.data_path_cost) for row in rows.values()
                  if is_cost(row.profile.data_path_cost)]  # fmt: skip
    # What DP moves is in its thread_cost, by experiment; the difference of its phases would be another figure for it.
    others = [row for row in alone if row.devices > 1 and not row.profile.replicated.threads_cost]
    sentences += [exposed_cost(row) for row in others if row.profile.exposed]
    wrapped = [(row, row.profile.wrapper_cost) for row in others if row.profile.wrapper_cost]
    return sentences + [_of_cost(f"wrapper_work.{_outcome(row, cost)}", row, cost) for row, cost in wrapped]


def _outcome(row: Row, cost: Median) -> str:
    return outcome_of_cost(cost, row.profile.slowest.step.value)


def _of_cost(id: str, row: Row, cost: Median, **values: Any) -> Message:
    """A sentence about what something costs a row's step, with the interval of that."""
    return message(id, row=row.name, cost=cost, interval=median_interval(cost), **values)


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
    words = message(f"breakdown.{verdict}", seconds=breakdown.over_link) if verdict else NOTHING
    largest_first = sorted(breakdown.items.items(), key=lambda pair: -pair[1].value)
    costs = {id: message("breakdown.item" if cost.interval else "breakdown.item_without_interval",
                         item=message(f"breakdown_item.{id}"), seconds=cost.value, item_interval=cost)
             for id, cost in largest_first}  # fmt: skip
    rest = costs.pop("residual")
    return message("breakdown.lost", items=list(costs.values()), rest=rest, verdict=words, **values)


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
    size, rate = more.profile.bytes_moved.get(name), phase_rate(more, name)
    moved = "moved.nothing" if not size else "moved.bytes_and_rate" if rate else "moved.bytes"
    return message(
        "reason.phase" if spent else "reason.phase_of_one",
        more=more.name,
        less=less.name,
        phase=name,
        more_seconds=more.profile.slowest.phases[name].value,
        less_seconds=spent.value if spent else 0.0,
        moved=message(moved, bytes=size, bytes_per_second=rate),
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


def thread_cost(row: Row) -> Message:
    """What DataParallel's threads and replicas cost a step, by experiment."""
    costs, planned = row.profile.replicated, convolutions_planned_anew(row)
    because, interaction, together = NOTHING, NOTHING, costs.interaction
    if planned:
        first, known = planned.first_convolution_seconds, planned.convolution_seconds
        because = message("threads.convolutions", first=first, known=known)
    if together and (together.is_above_zero or together.is_below_zero):
        id, size = ("cost", together) if together.is_above_zero else ("less", together.negated())
        interaction = message(f"interaction.{id}", interaction=size, interval=median_interval(size))
    of_replicas = f"replicas.{_outcome(row, costs.replicas_cost)}"
    replicas = message(of_replicas, cost=costs.replicas_cost, interval=median_interval(costs.replicas_cost),
                       interaction=interaction)  # fmt: skip
    of_threads = f"threads.{_outcome(row, costs.threads_cost)}"
    return _of_cost(of_threads, row, costs.threads_cost, because=because, replicas=replicas)


def new_thread_lines(row: Row) -> list[Message]:
    """What was measured of a row of one device, and what follows: which layers pay, and whether they are the ones that
    differ in shape."""
    threads, cost = row.profile.threads_of_forward, row.profile.new_thread_cost
    kinds = threads.median_seconds
    outcome = outcome_of_cost(cost, kinds["main_thread"])
    lines = [_of_cost(f"new_thread.{threads.timed}_{outcome}", row, cost, samples=threads.samples, **kinds)]
    if threads.timed != "step" or outcome != "cost":
        return lines
    if threads.paying:
        convolutions = [layer for layer in threads.convolutions if layer.pays]
        different = [layer for layer in threads.convolutions if not layer.same_as]
        others = len(threads.paying) - len(convolutions)
        lines.append(message(
            "new_thread.layers_same" if convolutions and convolutions == different else "new_thread.layers_others",
            paying=len(convolutions),
            convolutions=len(threads.convolutions),
            different=len(different),
            others=message("new_thread.with_others", count=others) if others else NOTHING,
            seconds=sum(layer.extra for layer in threads.paying),
        ))  # fmt: skip
    return [*lines, message("new_thread.replicas", cost=cost)]


def exposed_cost(row: Row) -> Message:
    """What moving data between devices adds to a row's step."""
    exposed, outcome = row.profile.exposed, _outcome(row, row.profile.exposed)
    synchronises = METHODS[row.method].synchronises_gradients
    what = "replicas" if not synchronises else "gradients" if row.profile.wrapper_cost else "gradients_and_wrapper"
    if outcome == "cost" or not exposed.interval:
        outcome = "adds_from_idle" if synchronises and row.on_gpu and row.profile.begins_idle else "adds"
    return message(f"exposed.{outcome}", what=message(f"exposed.{what}"), row=row.name, exposed=exposed,
                   share=row.profile.exposed_share, interval=median_interval(exposed))  # fmt: skip


def median_interval(median: Median) -> Message:
    """The interval with its coverage; or why there is none."""
    if median.interval is None:
        return message("interval.none", count=median.count, least=MIN_VALUES)
    return message("interval.of_median", median=median, coverage=median.coverage, count=median.count)
