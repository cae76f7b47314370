"""Tables with a line for each row: where a step goes and what it costs, energy, memory, accuracy, new threads."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from operator import attrgetter
from statistics import median
from typing import Any

from common.analysis.comparing.groups import Group
from common.analysis.comparing.rows import Row
from common.analysis.comparing.utilisation import attainable_rate, exchange_seconds, mfu_of, phase_rate
from common.analysis.judging.reasons import new_thread_lines
from common.analysis.reading.step_profile import PHASES
from common.analysis.sections.comparison import estimate_cell, median_cell
from common.content import NOTHING, WITHHELD, Cell, Line, Lines, Section, Table, columns, fold, not_available, sheet
from common.messages import Message, message
from common.records import FORWARD_THREADS, METHODS, LayerTimes

MAX_LINES, MAX_LAYERS = 48, 30


def expert_tables(group: Group) -> list[Table]:
    """What communication costs, how close to the limit a run comes, every rank, what moves, and every device's energy:
    each where there is something to show."""
    rows = [row for row in group.rows if row.profile][:MAX_LINES]
    several = [row for row in rows if row.devices > 1]
    tables = [_kinds_of_step(several), _communication(several), _limits(group.main_rows[:MAX_LINES]),
              _ranks(rows), _moves(several), _energy(group.rows[:MAX_LINES])]  # fmt: skip
    return [table for table in tables if table.lines]


def _line(row: Row, *cells: Cell) -> Line:
    return Line([Cell(row.name), *cells], row.method, row.name)


def _kinds_of_step(rows: list[Row]) -> Table:
    """DP: whole steps of every kind, and the effects that follow from them."""
    lines = []
    for row in rows:
        replicated = row.profile.replicated
        for kind, seconds in replicated.kinds.items():
            notes = (message("effect_of_kinds.unsettled"),) if kind in replicated.unsettled else ()
            cell = median_cell(seconds)
            cell = replace(cell, notes=(*cell.notes, *notes))
            lines.append(_line(row, Cell(message(f"kind_of_step.{kind}")), cell))
        effects = {"threads": replicated.threads_cost, "replicas": replicated.replicas_cost,
                   "interaction": replicated.interaction, "turns": replicated.turns}  # fmt: skip
        lines += [_line(row, Cell(message(f"effect_of_kinds.{id}")), median_cell(cost))
                  for id, cost in effects.items() if cost]  # fmt: skip
    return Table("kinds_of_step", columns("row:method", "kind_of_step:threads", "time:threads"), lines,
                 hint=message("hint.kinds_of_step"))  # fmt: skip


def _communication(rows: list[Row]) -> Table:
    shown = columns("row:method", "exposed:exposed-communication", "wrapper_work:exposed-communication",
                    "overlap_saves:overlap", "without_overlap:overlap", "predicted:all-reduce",
                    "torch_clock")  # fmt: skip
    lines = []
    for row in rows:
        profile = row.profile
        costs = (profile.exposed, profile.wrapper_cost, profile.overlap_gain, profile.whole_exchange)
        clock = NOTHING
        if profile.communication:
            beside = (message("note.beside_backward", seconds=profile.overlap.value),) if profile.overlap else ()
            clock = Cell(profile.communication.value, "ms", notes=beside)
        lines.append(_line(row, *map(median_cell, costs), _predicted(row), clock))
    return Table("communication", shown, lines, hint=message("hint.communication"))


def _predicted(row: Row) -> Cell:
    """The exchange as step 01's all-reduce tells it: in one message, and in the buckets that there were."""
    if not METHODS[row.method].synchronises_gradients:
        return NOTHING
    gradients, buckets = row.profile.bytes_moved.get("exchange", 0), row.profile.bucket_bytes
    whole, in_buckets = exchange_seconds(row, [gradients]), exchange_seconds(row, buckets)
    if isinstance(whole, Message):
        return not_available(whole)
    notes = [message("note.bytes", bytes=gradients)]
    if not isinstance(in_buckets, Message):
        notes.append(message("note.in_buckets", seconds=in_buckets, count=len(buckets)))
    return Cell(whole, "ms", notes=notes)


def _limits(rows: list[Row]) -> Table:
    shown = columns("row:method", "work:flops", "device_rate:flops", "mfu")
    lines = []
    for row in rows:
        if flops := row.record.flops_per_sample:
            speed, share = row.throughput, mfu_of(row)
            of_rate = message("note.of_rate", flops_per_second=attainable_rate(row))
            rate = Cell(flops * speed.value / row.devices, "FLOP/s") if speed else WITHHELD
            mfu = not_available(share) if isinstance(share, Message) else estimate_cell(share, "%.1", of_rate)
            lines.append(_line(row, Cell(flops, "FLOP"), rate, mfu))
    return Table("limits", shown, lines)


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
    fields: tuple[str, ...] = ("process_bytes", "static_bytes")
    names: tuple[str, ...] = ("memory_process:devices", "peak_resident:memory")
    if group.on_gpu:
        fields = ("peak_bytes", "reserved_bytes", "process_bytes", "static_bytes")
        names = ("memory_device:devices", "peak_in_tensors:memory", "peak_reserved:memory", "process_nvml:memory")
    lines = []
    for row in group.rows[:MAX_LINES]:
        for sizes, alike in groupby(row.memory, key=attrgetter(*fields)):
            cells = [not_available() if size is None else Cell(size, "GiB") for size in sizes]
            first, *others = alike
            id = f"name.{first.kind}s" if others else f"name.{first.kind}_alone"
            last = others[-1] if others else first
            lines.append(_line(row, Cell(message(id, number=first.number, last=last.number)), *cells))
    return Table("memory", columns("row:method", *names, "static_part:memory"), lines) if lines else None


def accuracy_table(group: Group) -> Table | None:
    """Top-1 and top-5 after the last epoch of each row's newest run; None where nothing was validated."""
    lines = []
    for row in group.rows[:MAX_LINES]:
        last = row.record.epochs[-1]
        if validation := last.validation:
            loss = validation.mean_loss
            shares = (Cell(validation.top1, "%.1"), Cell(validation.top5, "%.1"))
            of_loss = Cell(message("cell.not_finite")) if loss is None else Cell(loss, "number")
            lines.append(_line(row, Cell(last.epoch, "count"), Cell(validation.samples, "count"), *shares, of_loss))
    shown = columns("row:method", "after_epoch:accuracy", "images:accuracy", "top1:accuracy", "top5:accuracy",
                    "mean_loss:accuracy")  # fmt: skip
    return Table("accuracy", shown, lines, hint=message("hint.accuracy")) if lines else None


def new_thread_section(group: Group) -> list[Section]:
    """One device: what it costs that its forward pass runs in a thread that has just started, and what that means for
    DataParallel. Nothing where no row has measured it."""
    measured = (row for row in group.main_rows if row.profile and row.profile.threads_of_forward)
    row = next((row for row in measured if not row.is_parallel), None)
    if row is None:
        return []
    table = layers_table(row)
    folded = [fold(message("page.new_thread_layers"), sheet(table))] if table.lines else []
    return [Section(title=message("page.new_thread"), contents=[Lines(new_thread_lines(row), "verdicts"), *folded])]


def layers_table(row: Row) -> Table:
    """The host's time in the layers that pay, the dearest first; then of all others, by their kind, together."""
    threads = row.profile.threads_of_forward
    paying, rest = threads.paying, [layer for layer in threads.layers if not layer.pays]
    together = {
        "paying": paying[MAX_LAYERS:],
        "convolutions": [layer for layer in rest if layer.is_convolution],
        "others": [layer for layer in rest if not layer.is_convolution],
    }
    parts: list[tuple[Any, Sequence[LayerTimes]]] = [(layer.name, [layer]) for layer in paying[:MAX_LAYERS]]
    parts += [(message(f"layers.{id}", count=len(layers)), layers) for id, layers in together.items() if layers]
    lines = []
    for name, layers in parts:
        seconds = [sum(median(layer.seconds[kind]) for layer in layers) for kind in FORWARD_THREADS]
        lines.append(Line([Cell(name), *(Cell(of_kind, "ms") for of_kind in seconds)], row.method, row.name))
    shown = columns("layer", *(f"{kind}:threads" for kind in FORWARD_THREADS))
    return Table("layers_in_threads", shown, lines, hint=message("hint.layers_in_threads"))
