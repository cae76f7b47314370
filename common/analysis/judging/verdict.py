"""Who won, in words, and no further than the intervals carry."""

from __future__ import annotations

from dataclasses import dataclass

from common.analysis.comparing.facts import closest, differences
from common.analysis.comparing.groups import Group, Row, times_as_fast
from common.analysis.comparing.labels import LONG_NAMES
from common.analysis.statistics.estimates import Estimate, distinguishable
from common.records import Method, Record


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


def contenders(group: Group) -> list[Row]:
    """One row of each method, on the most true devices that DDP ran on: those that the outcome is about.

    Where a method has several configurations, one speaks for it by its terms and never by its speed: of enough tries
    the fastest wins by luck alone. It is the one that differs least from the newest row of DP (of DDP where there is no
    DP); of equals the newest. DDP with its default options goes before any other.
    """
    valid = [row for row in group.main_rows if row.is_valid]
    rows = [row for row in valid if row.true_devices] or valid
    several = [row for row in rows if row.devices > 1]
    most = max((row.devices for row in several if row.method == "ddp"), default=0)
    most = most or max((row.devices for row in several), default=1)
    taking_part = [row for row in rows if row.devices == most or row.method == "single"]
    by_method: dict[Method, list[Row]] = {}
    for row in sorted(taking_part, key=lambda row: (row.has_default_options, row.record.started_at)):
        by_method.setdefault(row.method, []).append(row)
    return _on_equal_terms(by_method)


def _on_equal_terms(by_method: dict[Method, list[Row]]) -> list[Row]:
    """One row of each method; the last of a method's rows goes before the others."""
    if "ddp" in by_method and by_method["ddp"][-1].has_default_options:
        by_method["ddp"] = [row for row in by_method["ddp"] if row.has_default_options]
    first = next((by_method[method][-1] for method in ("dp", "ddp", "single") if method in by_method), None)
    return [closest(first.facts, rows, lambda row: row.facts) for rows in by_method.values()] if first else []


def headline(groups: list[Group]) -> Headline:
    """The outcome of the most telling group, on the most true devices: four ranks on two cores are not four devices."""
    if not groups:
        return Headline("No run completed, so there is nothing to compare yet.")
    rivals = contenders(groups[0])
    if not rivals:
        return Headline("No run passed its parity check, so there is no speed to report.")
    most = max(row.devices for row in rivals)
    first = max(rivals, key=lambda row: row.throughput.value)
    others = [row for row in rivals if row.method != first.method]
    place, model = f"On {_place(first.record if first.devices == most else others[0].record)}", groups[0].key["model"]
    if not others:
        speed = f"{first.throughput.value:,.3g} samples/s"
        return Headline(f"{place}, {name(first)} trains {model} at {speed}; nothing to compare it with yet.")
    second = max(others, key=lambda row: row.throughput.value)
    return Headline(f"{place}, {_outcome(first, second, model)}", _against_one_device(rivals))


def _outcome(first: Row, second: Row, model: str) -> str:
    lead = times_as_fast(first, second)
    told = distinguishable(lead)
    if told is None:
        return f"{name(first)} came out ahead of {name(second)} for {model}, in too few steps to say that it is faster."
    if not told:
        return f"{name(first)} and {name(second)} are not distinguishable for {model} (ratio {span(lead)})."
    return f"{name(first)} trains {model} fastest: {lead.value:.2f} times as fast as {name(second)} ({span(lead)})."


def _against_one_device(rivals: list[Row]) -> str:
    parts = [
        f"{row.label} {row.speed_up.value:.2f}" + (f" ({span(row.speed_up)})" if row.speed_up.interval else "")
        for row in rivals
        if row.speed_up
    ]
    told = f"Speed-up over one device: {', '.join(parts)}. In brackets: 95 % intervals." if parts else ""
    unequal = differences((row.label, row.facts) for row in rivals)
    return f"{told} They did not run on equal terms: see what else differs.".strip() if unequal else told


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
