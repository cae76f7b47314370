"""Tables with a line for each row: where a step goes and what it costs, energy, memory, accuracy, new threads."""

from collections.abc import Callable, Iterator, Sequence
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
from common.content import NOTHING, WITHHELD, Cell, Line, Lines, Section, Table, columns, details, not_available
from common.messages import Message, message
from common.records import FORWARD_THREADS, METHODS, LayerTimes

MAX_LINES, MAX_LAYERS = 48, 30
Cells = Iterator[list[Cell]]
"""The cells of each of a row's lines, but for the first one, which is the row's name."""


def expert_tables(group: Group) -> list[Table]:
    """Communication, how close to the limit a run comes, ranks, what moves, energy: each where there is any to show."""
    rows = [row for row in group.rows if row.profile][:MAX_LINES]
    several, of_devices = [row for row in rows if row.devices > 1], group.rows[:MAX_LINES]
    has_hosts = len({host for row in of_devices for host, _ in row.device_energy}) > 1
    tables = [
        _table("kinds_of_step", ["kind_of_step:threads", "time:threads"], several, _kinds_of_step, "kinds_of_step"),
        _table("communication", ["exposed:exposed-communication", "wrapper_work:exposed-communication",
                                 "overlap_saves:overlap", "without_overlap:overlap", "predicted:all-reduce",
                                 "torch_clock"], several, _communication, "communication"),
        _table("limits", ["work:flops", "device_rate:flops", "mfu"], group.main_rows[:MAX_LINES], _limits),
        _ranks_table(rows),
        _table("moves", ["phase:profile", "bytes_a_step:bytes-moved", "time:profile", "rate:bytes-moved"],
               several, _moves, "buckets"),
        _table("energy", ["device:devices", "energy_per_epoch:energy", "energy_per_thousand:energy",
                          "idle_share:energy"], of_devices, lambda row: _energy(row, has_hosts)),
    ]  # fmt: skip
    return [table for table in tables if table.lines]


def _table(id: str, shown: list[str], rows: list[Row], cells_of: Callable[[Row], Cells], hint: str = "") -> Table:
    lines = [Line([Cell(row.name), *cells], row.method, row.name) for row in rows for cells in cells_of(row)]
    return Table(id, columns("row:method", *shown), lines, hint=message(f"hint.{hint}") if hint else None)


def _kinds_of_step(row: Row) -> Cells:
    """DP: whole steps of every kind, and the effects that follow from them."""
    replicated = row.profile.replicated
    for kind, seconds in replicated.kinds.items():
        notes = (message("effect_of_kinds.unsettled"),) if kind in replicated.unsettled else ()
        yield [Cell(message(f"kind_of_step.{kind}")), median_cell(seconds, *notes)]
    effects = {"threads": replicated.threads_cost, "replicas": replicated.replicas_cost,
               "interaction": replicated.interaction, "turns": replicated.turns}  # fmt: skip
    for id, cost in effects.items():
        if cost:
            yield [Cell(message(f"effect_of_kinds.{id}")), median_cell(cost)]


def _communication(row: Row) -> Cells:
    """Measured; as step 01's all-reduce predicts it, in one message and in the buckets that there were; by torch."""
    profile = row.profile
    costs = map(median_cell, (profile.exposed, profile.wrapper_cost, profile.overlap_gain, profile.whole_exchange))
    predicted = clock = NOTHING
    if METHODS[row.method].synchronises_gradients:
        gradients, buckets = profile.bytes_moved.get("exchange", 0), profile.bucket_bytes
        whole, in_buckets = exchange_seconds(row, [gradients]), exchange_seconds(row, buckets)
        notes = [message("note.bytes", bytes=gradients)]
        if not isinstance(in_buckets, Message):
            notes.append(message("note.in_buckets", seconds=in_buckets, count=len(buckets)))
        predicted = not_available(whole) if isinstance(whole, Message) else Cell(whole, "ms", notes=notes)
    if profile.communication:
        beside = (message("note.beside_backward", seconds=profile.overlap.value),) if profile.overlap else ()
        clock = Cell(profile.communication.value, "ms", notes=beside)
    yield [*costs, predicted, clock]


def _limits(row: Row) -> Cells:
    if flops := row.record.flops_per_sample:
        speed, share = row.throughput, mfu_of(row)
        of_rate = message("note.of_rate", flops_per_second=attainable_rate(row))
        rate = Cell(flops * speed.value / row.devices, "FLOP/s") if speed else WITHHELD
        mfu = not_available(share) if isinstance(share, Message) else estimate_cell(share, "%.1", of_rate)
        yield [Cell(flops, "FLOP"), rate, mfu]


def _ranks_table(rows: list[Row]) -> Table:
    ranks = [(row, rank) for row in rows for rank in row.profile.ranks][: 2 * MAX_LINES]
    phases = [name for name in PHASES if any(name in rank.phases for row in rows for rank in row.profile.ranks)]
    shown = columns("row:method", "step_ms:profile", *(f"phase_ms.{name}:profile" for name in phases))
    lines = []
    for row, rank in ranks:
        several = len(row.profile.ranks) > 1
        head = Cell(message("name.rank", row=row.name, rank=rank.rank) if several else row.name)
        of_rank = [rank.step, *map(rank.phases.get, phases)]
        cells = [Cell(1000 * seconds.value, "number") if seconds else NOTHING for seconds in of_rank]
        lines.append(Line([head, *cells], row.method, row.name))
    return Table("ranks", shown, lines, hint=message("hint.taken_apart"))


def _moves(row: Row) -> Cells:
    for name, size in row.profile.bytes_moved.items():
        phase, rate = row.profile.slowest.phases.get(name), phase_rate(row, name)
        buckets = row.profile.bucket_bytes if name == "exchange" else ()
        note = message("note.buckets", count=len(buckets), mebibytes=[size / 2**20 for size in buckets])
        moved = Cell(size, "B", notes=(note,) if buckets else ())
        times = [Cell(phase.value, "ms") if phase else NOTHING, Cell(rate, "B/s") if rate else NOTHING]
        yield [Cell(message(f"phase.{name}")), moved, *times]


def _energy(row: Row, has_hosts: bool) -> Cells:
    for (host, index), part in row.device_energy.items():
        name = message("name.host_device" if has_hosts else "name.device_alone", host=host, number=index)
        idle = Cell(part.idle_share, "%") if part.idle_share is not None else not_available()
        yield [Cell(name), Cell(part.joules_per_epoch, "J"), Cell(part.per_thousand.value, "J"), idle]


def memory_table(group: Group) -> Table:
    """Every device or process, neighbours with equal sizes in one line; empty where no peak is known."""
    shown = {"process_bytes": "peak_resident:memory", "static_bytes": "static_part:memory"}
    if group.on_gpu:
        shown = {"peak_bytes": "peak_in_tensors:memory", "reserved_bytes": "peak_reserved:memory",
                 "process_bytes": "process_nvml:memory", "static_bytes": "static_part:memory"}  # fmt: skip
    head = "memory_device:devices" if group.on_gpu else "memory_process:devices"

    def cells_of(row: Row) -> Cells:
        for sizes, alike in groupby(row.memory, key=attrgetter(*shown)):
            first, *others = alike
            id = f"name.{first.kind}s" if others else f"name.{first.kind}_alone"
            name = message(id, number=first.number, last=others[-1].number if others else first.number)
            yield [Cell(name), *(not_available() if size is None else Cell(size, "GiB") for size in sizes)]

    return _table("memory", [head, *shown.values()], group.rows[:MAX_LINES], cells_of)


def accuracy_table(group: Group) -> Table:
    """Top-1 and top-5 after the last epoch of each row's newest run; empty where nothing was validated."""
    shown = ["after_epoch:accuracy", "images:accuracy", "top1:accuracy", "top5:accuracy", "mean_loss:accuracy"]
    return _table("accuracy", shown, group.rows[:MAX_LINES], _accuracy, "accuracy")


def _accuracy(row: Row) -> Cells:
    last = row.record.epochs[-1]
    if validation := last.validation:
        loss = validation.mean_loss
        shares = (Cell(validation.top1, "%.1"), Cell(validation.top5, "%.1"))
        of_loss = Cell(message("cell.not_finite")) if loss is None else Cell(loss, "number")
        yield [Cell(last.epoch, "count"), Cell(validation.samples, "count"), *shares, of_loss]


def new_thread_section(group: Group) -> list[Section]:
    """What a forward pass in a new thread costs one device, and DataParallel; nothing where no row has measured it."""
    measured = (row for row in group.main_rows if row.profile and row.profile.threads_of_forward)
    row = next((row for row in measured if not row.is_parallel), None)
    if row is None:
        return []
    table = layers_table(row)
    layers = [details(message("page.new_thread_layers"), table.with_title)] if table.lines else []
    return [Section(title=message("page.new_thread"), contents=[Lines(new_thread_lines(row), "verdicts"), *layers])]


def layers_table(row: Row) -> Table:
    """The host's time in the layers that pay, the slowest first; then of all others, by their kind, together."""
    threads = row.profile.threads_of_forward
    paying, rest = threads.paying, [layer for layer in threads.whole_layers if not layer.pays]
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
