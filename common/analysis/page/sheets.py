"""Tables of the page beside the comparison itself, as plain cells, so that one template macro shows them all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from common.analysis.comparing.energy import device_energy
from common.analysis.comparing.groups import Group, Row
from common.analysis.comparing.step_anatomy import PHASES, StepAnatomy
from common.analysis.judging.limits import exchange_prediction, mfu_of
from common.analysis.judging.why import rate_of
from common.analysis.page.table import Cell, interval_text
from common.analysis.statistics.medians import FEWEST_VALUES, Median
from common.formats import milliseconds, number, percent, scaled
from common.records import Probes

MOST_ROWS = 48


@dataclass(frozen=True)
class Sheet:
    """One table; `columns` are (header, anchor in the glossary or nothing)."""

    title: str
    columns: Sequence[tuple[str, str]]
    rows: Sequence[tuple[str, Sequence[Cell]]]
    """Each with the method whose mark stands before it, or nothing."""
    hint: str = ""


def why_sheets(group: Group, probed: Sequence[Probes]) -> list[Sheet]:
    """What communication costs, how close to the limit, and the details, each where there is something to show."""
    rows = [row for row in group.rows if row.anatomy][:MOST_ROWS]
    several = [row for row in rows if row.devices > 1]
    sheets = [_communication(several, probed), _limits(group.main_rows[:MOST_ROWS], probed)]
    return [sheet for sheet in sheets if sheet.rows]


def detail_sheets(group: Group) -> list[Sheet]:
    """What few need: every rank and replica, what moves, every device's energy."""
    rows = [row for row in group.rows if row.anatomy][:MOST_ROWS]
    several = [row for row in rows if row.devices > 1]
    sheets = [_ranks(rows), _replicas(several), _moves(several), _energy(group.rows[:MOST_ROWS])]
    return [sheet for sheet in sheets if sheet.rows]


def _communication(rows: list[Row], probed: Sequence[Probes]) -> Sheet:
    columns = [
        ("Row", "method"),
        ("Exposed", "exposed-communication"),
        ("Overlap saves", "overlap"),
        ("Without overlap", "overlap"),
        ("Predicted", "all-reduce"),
        ("By torch's clock", "torch-clock"),
    ]
    lines = []
    for row in rows:
        found = row.anatomy
        medians = [_median(part) for part in (found.exposed, found.overlap_gain, found.whole_exchange)]
        lines.append((row.method, [Cell(row.label), *medians, _predicted(row, probed), _torch_clock(found)]))
    hint = (
        "Medians over pairs of steps; under each its distribution-free interval and how often such an interval holds. "
        "Predicted: all gradients in one message by step 01's all-reduce, to hold against “without overlap”."
    )
    return Sheet("What communication costs a step", columns, lines, hint)


def _predicted(row: Row, probed: Sequence[Probes]) -> Cell:
    if row.method != "ddp":
        return Cell("–")
    gradients = row.anatomy.bytes_moved.get("exchange", 0)
    whole, reason = exchange_prediction(row, probed, [gradients])
    if whole is None:
        return Cell("n/a", note=reason)
    buckets = exchange_prediction(row, probed, row.anatomy.bucket_bytes)[0]
    in_buckets = f"{milliseconds(buckets)} in its {len(row.anatomy.bucket_bytes)} buckets" if buckets else ""
    return Cell(milliseconds(whole), scaled(gradients, "B"), in_buckets, value=whole)


def _torch_clock(anatomy: StepAnatomy) -> Cell:
    if anatomy.communication is None:
        return Cell("–")
    beside = f"{milliseconds(anatomy.overlap.value)} beside the backward pass" if anatomy.overlap else ""
    return Cell(milliseconds(anatomy.communication.value), note=beside, value=anatomy.communication.value)


def _median(found: Median | None) -> Cell:
    if found is None:
        return Cell("–")
    if found.interval is None:
        return Cell(
            milliseconds(found.value), note=f"no interval: {found.count} of {FEWEST_VALUES} steps", value=found.value
        )
    low, high = (milliseconds(end).removesuffix(" ms") for end in found.interval)
    note = f"{percent(found.coverage, 1)}, {found.count} steps"
    return Cell(milliseconds(found.value), f"{low} to {high}", note, value=found.value)


def _limits(rows: list[Row], probed: Sequence[Probes]) -> Sheet:
    columns = [("Row", "method"), ("Work per sample", "flops"), ("Rate per device", "flops"), ("MFU", "mfu")]
    counted = [row for row in rows if row.record.flops_per_sample]
    lines = [(row.method, [Cell(row.label), *_arithmetic(row), _mfu(row, probed)]) for row in counted]
    return Sheet("How close to the limit", columns, lines)


def _arithmetic(row: Row) -> list[Cell]:
    flops = row.record.flops_per_sample
    if row.throughput is None:
        return [Cell(scaled(flops, "FLOP")), Cell("withheld")]
    return [Cell(scaled(flops, "FLOP")), Cell(scaled(flops * row.throughput.value / row.devices, "FLOP/s"))]


def _mfu(row: Row, probed: Sequence[Probes]) -> Cell:
    share, told = mfu_of(row, probed)
    if share is None:
        return Cell("n/a", note=told)
    return Cell(_fine(share.value), interval_text(share, _fine), told, value=share.value)


def _fine(share: float) -> str:
    return percent(share, 1)


def _ranks(rows: list[Row]) -> Sheet:
    shown = [name for name in PHASES if any(name in rank.phases for row in rows for rank in row.anatomy.ranks)]
    lines = []
    for row in rows:
        for rank in row.anatomy.ranks:
            label = f"{row.label}, rank {rank.rank}" if len(row.anatomy.ranks) > 1 else row.label
            phases = [rank.phases.get(name) for name in shown]
            cells = [Cell(number(1000 * phase.value) if phase else "–") for phase in phases]
            lines.append((row.method, [Cell(label), Cell(number(1000 * rank.step.value)), *cells]))
    columns = [("Row", "method"), ("Step, ms", "anatomy"), *((f"{name}, ms", "anatomy") for name in shown)]
    return Sheet("Every rank, phase by phase", columns, lines[: 2 * MOST_ROWS])


def _replicas(rows: list[Row]) -> Sheet:
    """DP runs its replicas in one process, so that their own work stands apart from the process's phases."""
    lines = [
        (row.method, [Cell(f"{row.label}, replica {index}"), _median(replica)])
        for row in rows
        for index, replica in enumerate(row.anatomy.replicas)
    ]
    return Sheet("Every replica's own forward and backward", [("Row", "method"), ("Time", "anatomy")], lines)


def _moves(rows: list[Row]) -> Sheet:
    lines = []
    for row in rows:
        for name, size in row.anatomy.bytes_moved.items():
            phase, speed = row.anatomy.slowest.phases.get(name), rate_of(row, name)
            buckets = ", ".join(f"{bucket / 2**20:.2f}" for bucket in row.anatomy.bucket_bytes)
            note = (
                f"in {len(row.anatomy.bucket_bytes)} buckets: {buckets} MiB" if name == "exchange" and buckets else ""
            )
            moved = Cell(scaled(size, "B"), note=note)
            time, rate = milliseconds(phase.value) if phase else "–", scaled(speed, "B/s") if speed else "–"
            lines.append((row.method, [Cell(row.label), Cell(name), moved, Cell(time), Cell(rate)]))
    columns = [
        ("Row", "method"),
        ("Phase", "anatomy"),
        ("Bytes a step", "bytes-moved"),
        ("Time", "anatomy"),
        ("Rate", "bytes-moved"),
    ]
    hint = "Buckets stand in the order in which they become ready."
    return Sheet("What moves between devices", columns, lines, hint)


def _energy(rows: list[Row]) -> Sheet:
    lines = []
    for row in rows:
        for (host, index), part in device_energy(row).items():
            idle = percent(part.idle_share) if part.idle_share is not None else "n/a"
            figures = (scaled(part.joules_per_epoch, "J"), scaled(part.joules_per_thousand_samples, "J"), idle)
            lines.append((row.method, [Cell(row.label), Cell(f"{host}, device {index}"), *map(Cell, figures)]))
    columns = [
        ("Row", "method"),
        ("Device", "devices"),
        ("Per epoch", "energy"),
        ("Per 1,000 samples", "energy"),
        ("Idle share", "energy"),
    ]
    return Sheet("Energy of every device", columns, lines)
