"""Tables with a line for each row: where a step goes and what it costs, energy, memory of every device, accuracy."""

from __future__ import annotations

from itertools import groupby

from common.analysis.comparing.device_use import PeakMemory
from common.analysis.comparing.groups import Group
from common.analysis.comparing.rows import Row
from common.analysis.comparing.utilisation import attainable_rate, exchange_seconds, mfu_of, phase_rate
from common.analysis.judging.cells import estimate_cell, median_cell
from common.analysis.judging.new_threads import kinds_of_step_table
from common.analysis.reading.step_profile import PHASES, StepProfile
from common.content import NOTHING, WITHHELD, Cell, Line, Message, Table, columns, message, not_available
from common.records import METHODS

MAX_LINES = 48


def expert_tables(group: Group) -> list[Table]:
    """What communication costs, how close to the limit a run comes, every rank, what moves, and every device's energy:
    each where there is something to show."""
    rows = _taken_apart(group)
    several = [row for row in rows if row.devices > 1]
    tables = [kinds_of_step_table(several), _communication(several), _limits(group.main_rows[:MAX_LINES]),
              _ranks(rows), _moves(several), _energy(group.rows[:MAX_LINES])]  # fmt: skip
    return [table for table in tables if table.lines]


def _taken_apart(group: Group) -> list[Row]:
    return [row for row in group.rows if row.profile][:MAX_LINES]


def _line(row: Row, *cells: Cell) -> Line:
    return Line([Cell(row.name), *cells], row.method, row.name)


def _communication(rows: list[Row]) -> Table:
    shown = columns("row:method", "exposed:exposed-communication", "wrapper_work:exposed-communication",
                    "overlap_saves:overlap", "without_overlap:overlap", "predicted:all-reduce",
                    "torch_clock")  # fmt: skip
    lines = []
    for row in rows:
        profile = row.profile
        costs = (profile.exposed, profile.wrapper_cost, profile.overlap_gain, profile.whole_exchange)
        medians = [median_cell(cost) for cost in costs]
        lines.append(_line(row, *medians, _predicted(row), _torch_clock(profile)))
    return Table("communication", shown, lines, hint=message("hint.communication"))


def _predicted(row: Row) -> Cell:
    if not METHODS[row.method].synchronises_gradients:
        return NOTHING
    gradients, buckets = row.profile.bytes_moved.get("exchange", 0), row.profile.bucket_bytes
    whole = exchange_seconds(row, [gradients])
    if isinstance(whole, Message):
        return not_available(whole)
    notes = [message("note.bytes", bytes=gradients)]
    in_buckets = exchange_seconds(row, buckets)
    if not isinstance(in_buckets, Message):
        notes.append(message("note.in_buckets", seconds=in_buckets, count=len(buckets)))
    return Cell(whole, "ms", notes=tuple(notes))


def _torch_clock(profile: StepProfile) -> Cell:
    if profile.communication is None:
        return NOTHING
    notes = (message("note.beside_backward", seconds=profile.overlap.value),) if profile.overlap else ()
    return Cell(profile.communication.value, "ms", notes=notes)


def _limits(rows: list[Row]) -> Table:
    shown = columns("row:method", "work:flops", "device_rate:flops", "mfu")
    lines = [_line(row, *_arithmetic(row), _mfu(row)) for row in rows if row.record.flops_per_sample]
    return Table("limits", shown, lines)


def _arithmetic(row: Row) -> list[Cell]:
    flops = row.record.flops_per_sample
    rate = Cell(flops * row.throughput.value / row.devices, "FLOP/s") if row.throughput else WITHHELD
    return [Cell(flops, "FLOP"), rate]


def _mfu(row: Row) -> Cell:
    share = mfu_of(row)
    if isinstance(share, Message):
        return not_available(share)
    return estimate_cell(share, "%.1", message("note.of_rate", flops_per_second=attainable_rate(row)))


def _ranks(rows: list[Row]) -> Table:
    phases = [name for name in PHASES if any(name in rank.phases for row in rows for rank in row.profile.ranks)]
    shown = columns("row:method", "step_ms:profile", *(f"phase.{name}:profile" for name in phases))
    lines = []
    for row in rows:
        for rank in row.profile.ranks:
            several = len(row.profile.ranks) > 1
            head = Cell(message("name.rank", row=row.name, rank=rank.rank) if several else row.name)
            of_rank = [rank.phases.get(name) for name in phases]
            cells = [Cell(1000 * phase.value, "number") if phase else NOTHING for phase in of_rank]
            lines.append(Line([head, Cell(1000 * rank.step.value, "number"), *cells], row.method, row.name))
    return Table("ranks", shown, lines[: 2 * MAX_LINES], hint=message("hint.taken_apart"))


def _moves(rows: list[Row]) -> Table:
    lines = []
    for row in rows:
        for name, size in row.profile.bytes_moved.items():
            phase, rate = row.profile.slowest.phases.get(name), phase_rate(row, name)
            buckets = row.profile.bucket_bytes if name == "exchange" else ()
            note = message("note.buckets", count=len(buckets), mebibytes=[size / 2**20 for size in buckets])
            moved = Cell(size, "B", notes=(note,) if buckets else ())
            times = [Cell(phase.value, "ms") if phase else NOTHING, Cell(rate, "B/s") if rate else NOTHING]
            lines.append(_line(row, Cell(message(f"phase.{name}")), moved, *times))
    shown = columns("row:method", "phase:profile", "bytes_a_step:bytes-moved", "time:profile", "rate:bytes-moved")
    return Table("moves", shown, lines, hint=message("hint.buckets"))


def _energy(rows: list[Row]) -> Table:
    lines = []
    hosts = {host for row in rows for host, _ in row.device_energy}
    name = "name.host_device" if len(hosts) > 1 else "name.device_alone"
    for row in rows:
        for (host, index), part in row.device_energy.items():
            idle = Cell(part.idle_share, "%") if part.idle_share is not None else not_available()
            figures = [Cell(part.joules_per_epoch, "J"), Cell(part.per_thousand.value, "J"), idle]
            lines.append(_line(row, Cell(message(name, host=host, number=index)), *figures))
    shown = columns("row:method", "device:devices", "energy_per_epoch:energy", "energy_per_thousand:energy",
                    "idle_share:energy")  # fmt: skip
    return Table("energy", shown, lines)


def memory_table(group: Group) -> Table | None:
    """Every device or process, neighbours with equal sizes in one line; None where no peak is known."""
    place = "memory_device:devices" if group.on_gpu else "memory_process:devices"
    measured = ["peak_in_tensors:memory", "peak_reserved:memory"] if group.on_gpu else []
    process = "process_nvml:memory" if group.on_gpu else "peak_resident:memory"
    lines = []
    for row in group.rows[:MAX_LINES]:
        for sizes, alike in groupby(row.memory, key=lambda peak: _sizes(peak, group.on_gpu)):
            cells = [not_available() if size is None else Cell(size, "GiB") for size in sizes]
            peaks = list(alike)
            first, last = peaks[0], peaks[-1]
            id = f"name.{first.kind}_alone" if first is last else f"name.{first.kind}s"
            lines.append(_line(row, Cell(message(id, number=first.number, last=last.number)), *cells))
    shown = columns("row:method", place, *measured, process, "static_part:memory")
    return Table("memory", shown, lines) if lines else None


def _sizes(peak: PeakMemory, on_gpu: bool) -> list[int | None]:
    of_tensors = [peak.peak_bytes, peak.reserved_bytes] if on_gpu else []
    return [*of_tensors, peak.process_bytes, peak.static_bytes]


def accuracy_table(group: Group) -> Table | None:
    """Top-1 and top-5 after the last epoch of each row's newest run; None where nothing was validated."""
    lines = []
    for row in group.rows[:MAX_LINES]:
        last = row.record.epochs[-1]
        validation = last.validation
        if validation is None:
            continue
        counts = [Cell(last.epoch, "count"), Cell(validation.samples, "count")]
        shares = [Cell(validation.top1, "%.1"), Cell(validation.top5, "%.1")]
        loss = (
            Cell(message("cell.not_finite")) if validation.mean_loss is None else Cell(validation.mean_loss, "number")
        )
        lines.append(_line(row, *counts, *shares, loss))
    shown = columns("row:method", "after_epoch:accuracy", "images:accuracy", "top1:accuracy", "top5:accuracy",
                    "mean_loss:accuracy")  # fmt: skip
    return Table("accuracy", shown, lines, hint=message("hint.accuracy")) if lines else None
