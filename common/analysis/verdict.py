"""Who won, in words, and no further than the intervals carry."""

from __future__ import annotations

from dataclasses import dataclass

from common.analysis.comparison import LONG_NAMES, Group, Row
from common.analysis.facts import closest
from common.analysis.statistics import Estimate, distinguishable, ratio


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
    """Every parallel row against one device, and DDP against DP on as many devices. Rows that are not valid are left out."""
    valid = [row for row in group.rows if row.is_valid]
    found = [Verdict(row, row.baseline, row.speed_up) for row in valid if row.speed_up]
    for row in valid:
        if row.method == "ddp":
            rivals = [other for other in valid if other.method == "dp" and other.devices == row.devices]
            rival = closest(row.facts, rivals, lambda other: other.facts)
            if rival:
                found.append(Verdict(row, rival, ratio(row.throughput, rival.throughput)))
    return found


def compare_in_words(one: Row, other: Row, quotient: Estimate) -> str:
    """`DDP × 2 is 1.52 times as fast as DP × 2 (95 % interval 1.31 to 1.76)`, or that nobody can tell."""
    if quotient.interval is None:
        return f"{one.label} against {other.label}: {quotient.value:.2f}, with too few steps for an interval, so no verdict."
    low, high = quotient.interval
    if not distinguishable(quotient):
        return f"{one.label} and {other.label} are not distinguishable: the ratio's interval, {low:.2f} to {high:.2f}, spans 1."
    if quotient.value < 1:
        return compare_in_words(other, one, quotient.inverse())
    return (
        f"{one.label} is {quotient.value:.2f} times as fast as {other.label} (95 % interval {low:.2f} to {high:.2f})."
    )


def headline(group: Group) -> str:
    """The outcome in one or two sentences: who is fastest on the most true devices, and by how much."""
    rows = [row for row in group.rows if row.is_valid]
    if not rows:
        return "No run passed its parity check, so there is no speed to report."
    true = [row for row in rows if row.true_devices] or rows  # four ranks on two cores say nothing about four devices
    most = max((row.devices for row in true if row.method == "ddp"), default=max(row.devices for row in true))
    rivals = [row for row in true if row.devices == most or row.method == "single"]
    first = max(rivals, key=lambda row: row.throughput.value)
    others = [row for row in rivals if row.method != first.method]
    place = f"On {devices_in_words(group)}, training {group.key['model']}: "
    if not others:
        return f"{place}{first.throughput.value:,.3g} samples/s with {name(first)}. Nothing to compare it with yet."
    second = max(others, key=lambda row: row.throughput.value)
    lead = ratio(first.throughput, second.throughput)
    return place + _outcome(first, second, lead) + _against_one_device(first, rivals)


def _outcome(first: Row, second: Row, lead: Estimate) -> str:
    told = distinguishable(lead)
    if told is None:
        return f"{name(first)} came out ahead of {name(second)}, but there are too few steps to say that it is faster. "
    low, high = lead.interval
    if not told:
        return f"{name(first)} and {name(second)} are not distinguishable (ratio {low:.2f} to {high:.2f}). "
    return f"{name(first)} is fastest, {lead.value:.2f} times as fast as {name(second)} (95 % interval {low:.2f} to {high:.2f}). "


def _against_one_device(first: Row, rivals: list[Row]) -> str:
    """How far each parallel method got, in multiples of one device; its closest rival has been named already."""
    parts = [
        f"{name(row)} reaches {row.speed_up.value:.2f}× ({row.speed_up.interval[0]:.2f} to {row.speed_up.interval[1]:.2f})"
        if row.speed_up.interval
        else f"{name(row)} reaches {row.speed_up.value:.2f}×"
        for row in sorted(rivals, key=lambda row: row is not first)
        if row.speed_up
    ]
    return f"Measured in one device's throughput, {' and '.join(parts)}." if parts else ""


def name(row: Row) -> str:
    """The method in full, for a sentence."""
    long = LONG_NAMES[row.method]
    if row.method == "single":
        return "one device"
    emulated = ", emulated" if row.record.world.emulated else ""
    return f"{long} ({row.devices} devices{emulated})"


def devices_in_words(group: Group) -> str:
    """What the group ran on; says it when there were more devices asked for than there are."""
    rows = group.rows
    world = max((row.record for row in rows), key=lambda record: record.world.devices)
    cores, model = world.environment.cpu_cores, world.world.device_model
    if world.world.device_kind == "cpu":
        return f"{cores} CPU core{'s' if cores > 1 else ''} ({world.environment.cpu_model})"
    gpus = {(device.host, device.index) for device in world.devices}
    return f"{len(gpus)} × {model}" if len(gpus) > 1 else f"one {model}"
