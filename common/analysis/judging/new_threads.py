"""What new threads cost: DataParallel's, by its kinds of steps, and the one that a single device's forward pass has."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from common.analysis.comparing.groups import Group
from common.analysis.comparing.rows import Row
from common.analysis.judging.cells import median_cell
from common.analysis.judging.reasons import median_interval
from common.analysis.reading.thread_costs import ForwardThreads
from common.analysis.statistics.medians import outcome_of_cost
from common.content import Cell, Line, Lines, Message, Section, Table, columns, fold, message, sheet
from common.records import FORWARD_THREADS, LayerTimes

MAX_LAYERS = 30


def kinds_of_step_table(rows: Sequence[Row]) -> Table:
    """DP: whole steps of every kind, and the effects that follow from them."""
    lines = []
    for row in rows:
        replicated = row.profile.replicated
        for kind, seconds in replicated.kinds.items():
            notes = (message("effect_of_kinds.unsettled"),) if kind in replicated.unsettled else ()
            cell = median_cell(seconds)
            shown = Cell(cell.value, "ms", interval=cell.interval, notes=(*cell.notes, *notes))
            lines.append(_line(row, f"kind_of_step.{kind}", shown))
        effects = {"threads": replicated.threads_cost, "replicas": replicated.replicas_cost,
                   "interaction": replicated.interaction, "turns": replicated.turns}  # fmt: skip
        lines += [_line(row, f"effect_of_kinds.{id}", median_cell(cost)) for id, cost in effects.items() if cost]
    return Table("kinds_of_step", columns("row:method", "kind_of_step:threads", "time:threads"), lines,
                 hint=message("hint.kinds_of_step"))  # fmt: skip


def _line(row: Row, what: str, cell: Cell) -> Line:
    return Line([Cell(row.name), Cell(message(what)), cell], row.method, row.name)


def new_thread_section(group: Group) -> list[Section]:
    """One device: what it costs that its forward pass runs in a thread that has just started, and what that means for
    DataParallel. Nothing where no row has measured it."""
    row = next((row for row in group.main_rows if not row.is_parallel and _threads_of_forward(row)), None)
    if row is None:
        return []
    table = layers_table(row)
    folded = [fold(message("page.new_thread_layers"), sheet(table))] if table.lines else []
    contents = [Lines(new_thread_lines(row), "verdicts"), *folded]
    return [Section(title=message("page.new_thread"), contents=contents)]


def _threads_of_forward(row: Row) -> ForwardThreads | None:
    return row.profile.threads_of_forward if row.profile else None


def new_thread_lines(row: Row) -> list[Message]:
    """What was measured of a row of one device, and what follows."""
    threads = _threads_of_forward(row)
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


def layers_table(row: Row) -> Table:
    """The host's time in the layers that pay, the dearest first; then of all others, by their kind, together."""
    threads = _threads_of_forward(row)
    paying = threads.paying
    rest = [layer for layer in threads.layers if not layer.pays]
    convolutions = [layer for layer in rest if layer.is_convolution]
    others = [layer for layer in rest if not layer.is_convolution]
    lines = [_layer_line(row, Cell(layer.name), [layer]) for layer in paying[:MAX_LAYERS]]
    for id, layers in (("paying", paying[MAX_LAYERS:]), ("convolutions", convolutions), ("others", others)):
        if layers:
            lines.append(_layer_line(row, Cell(message(f"layers.{id}", count=len(layers))), layers))
    shown = columns("layer", *(f"{kind}:threads" for kind in FORWARD_THREADS))
    return Table("layers_in_threads", shown, lines, hint=message("hint.layers_in_threads"))


def _layer_line(row: Row, name: Cell, layers: Sequence[LayerTimes]) -> Line:
    seconds = [sum(median(layer.seconds[kind]) for layer in layers) for kind in FORWARD_THREADS]
    return Line([name, *(Cell(of_kind, "ms") for of_kind in seconds)], row.method, row.name)
