"""Who won, in words, and no further than the intervals carry."""

from __future__ import annotations

from dataclasses import dataclass

from common.analysis.comparing.contenders import contenders, turn_takers
from common.analysis.comparing.facts import closest, differences
from common.analysis.comparing.groups import Group, Row, times_as_fast
from common.analysis.comparing.labels import LONG_NAMES, SHORT_NAMES
from common.analysis.statistics.estimates import Estimate, distinguishable
from common.records import Record


@dataclass(frozen=True)
class Verdict:
    """One pair of rows, compared."""

    one: Row
    other: Row
    quotient: Estimate
    """Throughput of `one` over that of `other`."""

    @property
    def text(self) -> str:
        """The comparison as a sentence."""
        return compare_in_words(self.one, self.other, self.quotient)


def verdicts(group: Group) -> list[Verdict]:
    """Every parallel row against one device; DDP against DP on as many devices, and across nodes against within one.

    Invalid rows stay out, and so do rows that only try options of DDP.
    """
    valid = [row for row in group.main_rows if row.is_valid]
    found = [Verdict(row, row.baseline, row.speed_up) for row in valid if row.speed_up]
    rivals: dict[tuple, list[Row]] = {}
    for row in valid:
        if row.record.world.nodes == 1:
            rivals.setdefault((row.method, row.devices), []).append(row)
    for row in valid:
        if row.method == "ddp":
            across = ["ddp"] if row.record.world.nodes > 1 else []
            for method in ("dp", *across):
                rival = closest(row.facts, rivals.get((method, row.devices), []), lambda other: other.facts)
                if rival:
                    found.append(Verdict(row, rival, times_as_fast(row, rival)))
    return found


def compare_in_words(one: Row, other: Row, quotient: Estimate) -> str:
    """`DDP × 2 is 1.52 times as fast as DP × 2 (95 % interval 1.31 to 1.76)`, or that nobody can tell."""
    first, second = one.label, other.in_a_sentence
    if quotient.interval is None:
        return f"{first} against {second}: {quotient.value:.2f}, but too few steps for an interval: no verdict."
    if not distinguishable(quotient):
        return f"{first} and {second} are not distinguishable: the ratio's interval, {span(quotient)}, spans 1."
    if quotient.value < 1:
        return compare_in_words(other, one, quotient.inverse())
    return f"{first} is {quotient.value:.2f} times as fast as {second} (95 % interval {span(quotient)})."


@dataclass(frozen=True)
class Headline:
    """The page's first words."""

    outcome: str
    """One sentence: who is fastest, on what, by how much."""
    detail: str = ""
    """How far each parallel method got, in multiples of one device."""


def headline(groups: list[Group]) -> Headline:
    """The outcome of the best measured group: each parallel method against one device, and what took turns instead."""
    if not groups:
        return Headline("No run completed, so there is nothing to compare yet.")
    rivals, takers = contenders(groups[0].rows), turn_takers(groups[0].rows)
    if not rivals:
        return Headline("No run passed its parity check, so there is no speed to report.")
    model = groups[0].key["model"]
    parallel = sorted((row for row in rivals if row.speed_up), key=lambda row: row.speed_up.value, reverse=True)
    largest = max(rivals, key=lambda row: row.devices)
    place = f"On {_place(largest.record)}"
    if takers and not parallel:
        return _turns(rivals, takers, model)
    if parallel:
        outcome = f"{place}, {model} trains {', and '.join(_against_one(row, row is parallel[0]) for row in parallel)}."
    elif len(rivals) > 1:
        first, second = sorted(rivals, key=lambda row: row.throughput.value, reverse=True)[:2]
        outcome = f"{place}, {_outcome(first, second, model)}"
    else:
        speed = f"{rivals[0].throughput.value:,.3g} samples/s"
        outcome = f"{place}, {name(rivals[0])} trains {model} at {speed}; nothing to compare it with yet."
    details = [*_between_methods(rivals), *_strong(groups), *([_in_turns(takers)] if takers else []), *_terms(rivals)]
    return Headline(outcome, " ".join(details))


def _against_one(row: Row, is_first: bool) -> str:
    """`1.94 times as fast as on one GPU under DistributedDataParallel (1.93–1.95)`; the second needs fewer words."""
    ratio, one = row.speed_up, one_device(row)
    told = f"{ratio.value:.2f} times as fast {f'as on {one} ' if is_first else ''}under {name(row)}"
    if ratio.interval is None:
        return f"{told} (too few steps for an interval)"
    if not distinguishable(ratio):
        return f"{told} ({brackets(ratio)}, not distinguishable)"
    return f"{told} ({brackets(ratio)}){f', slower than {one}' if ratio.value < 1 else ''}"


def one_device(row: Row) -> str:
    """What one device is here, in a sentence."""
    return "one GPU" if row.record.world.device_kind == "cuda" else "one CPU core"


def _turns(rivals: list[Row], takers: list[Row], model: str) -> Headline:
    """No device of its own for each replica or rank: what happened instead of scaling."""
    singles = [row for row in rivals if row.method == "single"]
    speed = f"{singles[0].throughput.value:,.3g} samples/s" if singles else ""
    alone = f" {one_device(singles[0]).capitalize()} alone trains at {speed}." if singles else ""
    return Headline(f"{model}: {_in_turns(takers)}{alone}")


def _in_turns(takers: list[Row]) -> str:
    """`Four devices took turns on 2 CPU cores: DP 2.01 ×, DDP 1.89 × one CPU core; this is not scaling.`"""
    first = takers[0]
    counts = " and ".join(dict.fromkeys(str(row.devices) for row in takers))
    world = first.record.world
    if world.device_kind == "cpu":
        there = first.record.environment.cpu_cores
        where = f"{there} CPU core{'s' if there > 1 else ''}"
    else:
        there = len({(device.host, device.index) for device in first.record.devices})
        where = f"{there} GPU{'s' if there > 1 else ''}"
    what = "devices" if world.device_kind == "cpu" else "replicas or ranks"
    against = [f"{SHORT_NAMES[row.method]} {row.speed_up.value:.2f} ×" for row in takers if row.speed_up]
    ratios = f": {', '.join(against)} {one_device(first)}" if against else ""
    return f"{counts} {what} took turns on {where}{ratios}; this is not scaling."


def _between_methods(rivals: list[Row]) -> list[str]:
    rows = {row.method: row for row in rivals}
    if not {"dp", "ddp", "single"} <= set(rows):
        return []
    return [compare_in_words(rows["ddp"], rows["dp"], times_as_fast(rows["ddp"], rows["dp"]))]


def _strong(groups: list[Group]) -> list[str]:
    """The first strong-scaling group of the headline's model, in a few words, where the headline is of weak scaling."""
    first = groups[0]
    if first.scaling == "strong":
        return []
    for group in groups[1:]:
        same = all(group.key.get(name) == value for name, value in first.key.items() if name != "per-device batch")
        ratios = [row for row in contenders(group.rows) if row.speed_up] if group.scaling == "strong" and same else []
        if ratios:
            told = ", ".join(f"{row.label} {row.speed_up.value:.2f} ×{_bracketed(row.speed_up)}" for row in ratios)
            return [f"Strong scaling, a global batch of {group.key['global batch']} throughout: {told}."]
    return []


def _bracketed(estimate: Estimate) -> str:
    return f" ({brackets(estimate)})" if estimate.interval else ""


def _terms(rivals: list[Row]) -> list[str]:
    unequal = differences((row.label, row.facts) for row in rivals)
    return ["They did not run on equal terms: see what else differs."] if unequal else []


def _outcome(first: Row, second: Row, model: str) -> str:
    lead = times_as_fast(first, second)
    told = distinguishable(lead)
    if told is None:
        return f"{name(first)} came out ahead of {name(second)} for {model}, in too few steps to say that it is faster."
    if not told:
        return f"{name(first)} and {name(second)} are not distinguishable for {model} (ratio {span(lead)})."
    return f"{name(first)} trains {model} fastest: {lead.value:.2f} times as fast as {name(second)} ({span(lead)})."


def brackets(estimate: Estimate) -> str:
    """`1.93–1.95`; the estimate must have an interval."""
    low, high = estimate.interval
    return f"{low:.2f}–{high:.2f}"


def span(estimate: Estimate) -> str:
    """`1.31 to 1.76`; the estimate must have an interval."""
    low, high = estimate.interval
    return f"{low:.2f} to {high:.2f}"


def name(row: Row) -> str:
    """The method in full, for a sentence."""
    if row.method == "single":
        return "one device"
    world = row.record.world
    return f"{'emulated ' if world.emulated else ''}{LONG_NAMES[row.method]}" + (
        f" on {world.nodes} nodes" if world.nodes > 1 else ""
    )


def _place(record: Record) -> str:
    """`4 × NVIDIA H200`, `2 CPU cores (AMD EPYC)`; where devices are not there, `4 devices on 2 CPU cores (…)`."""
    world, host = record.world, record.environment
    if world.device_kind == "cpu":
        cores = f"{world.devices} devices on {host.cpu_cores}" if world.oversubscribed else str(world.devices)
        return f"{cores} CPU core{'' if cores == '1' else 's'} ({host.cpu_model})"
    gpus = len({(device.host, device.index) for device in record.devices})
    return (f"{world.devices} replicas on " if world.shared else "") + f"{gpus} × {world.device_model}"
