"""The comparison itself: its title, what rows have in common, a line for each row of a group; cells of estimates."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import compress

from common.analysis.comparing.facts import BATCH, GROUP_KEY, OPTIONS, USUAL, Facts, fact_value, group_key
from common.analysis.comparing.groups import Group
from common.analysis.comparing.rows import Row
from common.analysis.judging.row_checks import failed_checks
from common.analysis.judging.run_checks import Check
from common.analysis.statistics.estimates import Estimate
from common.analysis.statistics.medians import MIN_VALUES, Median
from common.content import NOTHING, WITHHELD, Cell, CheckMark, Line, Message, Table, columns, message, not_available

MAX_LINES = 60


def group_title(group: Group, short: bool = False) -> Message:
    """`Weak scaling: resnet18, 64 px, ieee-fp32, …, 32 per device`; `short`: for the contents, without settings."""
    key, kind = group.key, group.scaling if group.scales else "plain"
    batch = message(f"title.batch_{group.scaling}", value=key[BATCH[group.scaling]])
    if short:
        return message(f"contents.{kind}", model=key["model"], batch=batch)
    return message(f"title.{kind}", model=key["model"], device=key["device_model"], parts=[*unusual_parts(key), batch])


def unusual_parts(key: Facts) -> list[Message]:
    """Settings of a group, `64 px`, `bf16`, but for those that have their usual value, for model, device and batch."""
    left_out = ("model", "device_model", *BATCH.values())
    return [
        message(f"title.{fact}", value=value)
        for fact, value in key.items()
        if fact not in left_out and USUAL.get(fact) != value and value not in (0, "")
    ]


def row_and_settings(row: Row, *left_out: str) -> Message:
    """`DDP × 2, resnet18, 64 px, 16 samples per device`; `left_out`: facts that need not be said."""
    key = group_key(row.record)
    parts = unusual_parts({name: key[name] for name in GROUP_KEY if name not in left_out})
    if BATCH["weak"] not in left_out:
        parts.append(message("title.batch_weak", value=key[BATCH["weak"]]))
    return message("change.where", row=row.name, model=key["model"], parts=parts)


def images_of(group: Group) -> Message:
    """What the rows were trained on: the same for all but for the number of images, of which the largest is given."""
    config = group.rows[0].record.config
    source = config.data_source
    samples = max(row.record.config.samples_per_epoch for row in group.rows)
    made = "synthetic" if config.image_size else "made_on_the_fly"
    return message(f"images.{made}" if source == "synthetic" else "images.folder", source=source, samples=samples)


def group_table(group: Group, checks: str = "") -> Table:
    """The table; its marks lead to `checks`. Energy has a column where any device of the group counted it."""
    shown: dict[str, Callable[[Row], Cell]] = {
        "method": _method,
        "devices": lambda row: Cell(row.devices, "count"),
        "global_batch": lambda row: Cell(row.record.config.global_batch_size, "count", notes=(
            message("note.each", count=row.record.config.per_device_batch_size),)),
        "epoch_time": lambda row: estimate_cell(row.epoch_time, "s") if row.epoch_time else WITHHELD,
        "gpu_memory:memory" if group.on_gpu else "process_memory:memory": _memory,
        "throughput": lambda row: speed_cell(row, doubts_about_speed(row)),
        "speed_up": lambda row: _relative(row, row.speed_up, "×"),
        "scaling_efficiency": lambda row: _relative(row, row.efficiency, "%"),
    }  # fmt: skip
    if any(row.device_energy for row in group.rows):
        shown["energy"] = _energy
    lines = [Line([cell_of(row) for cell_of in shown.values()], row.method, row.name, row.is_valid)
             for row in group.main_rows[:MAX_LINES]]  # fmt: skip
    left_out = len(group.main_rows) - len(lines)
    return Table("comparison", columns(*shown), lines, left_out=left_out, style="comparison whole", checks=checks)


def in_brief(table: Table) -> Table:
    """The same without what charts, names, the title and the whole table tell: intervals, notes, devices, batch."""
    is_kept = [column.id not in ("devices", "global_batch") for column in table.columns]
    lines = []
    for line in table.lines:
        _, *cells = compress(line.cells, is_kept)
        name = Cell(line.name, notes=[note for note in line.cells[0].notes if note != line.name])
        bare = (cell if cell.number is None else replace(cell, interval=None, notes=()) for cell in cells)
        lines.append(replace(line, cells=[name, *bare]))
    return replace(table, columns=list(compress(table.columns, is_kept)), lines=lines, style="comparison")


def doubts_about_speed(row: Row) -> list[Check]:
    """The failed checks about a row's speed, but for the one that its name words already: emulated, shared."""
    return [check for check in failed_checks(row) if check.id != "devices"]


def _method(row: Row) -> Cell:
    flags = [*row.record.world.flags]
    flags += ["resumed"] if any(run.record.resumed for run in row.runs) else []
    flags += ["restarted"] if any(run.record.world.restarts for run in row.runs) else []
    notes: list = [row.name] if row.name.letter or row.name.nodes > 1 else []
    notes += [runs_note(row), *(message(f"flag.{flag}") for flag in flags)]
    for fact, value in row.variant.items():
        shown = fact_value(fact, value)
        note = message("note.options", value=shown) if fact == OPTIONS else message("note.fact", fact=fact, value=shown)
        notes.append(note)
    return Cell(message(f"method.{row.method}"), notes=notes)


def runs_note(row: Row) -> Message:
    """How often the row was run."""
    return message("note.runs" if len(row.runs) > 1 else "note.run", count=len(row.runs))


def speed_cell(row: Row, doubts: list[Check] | None = None) -> Cell:
    """A row's throughput, with the checks that cast doubt on it: all that failed, unless others are given."""
    marks = [check.mark for check in (failed_checks(row) if doubts is None else doubts)]
    if row.rate is None:
        return replace(WITHHELD, notes=(message(f"note.not_valid_{row.failed_check}"),), marks=marks)
    return estimate_cell(row.rate, row.rate_form, marks=marks)


def ratio_cell(quotient: Estimate, form: str, *notes: Message, marks: Sequence[CheckMark] = ()) -> Cell:
    """A ratio between rows, which has an interval where both have runs enough."""
    return estimate_cell(quotient, form, *notes, marks=marks, without="too_few_runs")


def estimate_cell(
    estimate: Estimate, form: str, *notes: Message, marks: Sequence[CheckMark] = (), without: str = "fewer_than_4"
) -> Cell:
    """An estimate with its 95 % interval, or why it has none."""
    missing = () if estimate.interval else (message(f"interval.{without}"),)
    return Cell(estimate.value, form, interval=estimate.interval, notes=(*missing, *notes), marks=marks)


def median_cell(median: Median | None, *notes: Message) -> Cell:
    """A median of seconds with its interval, or why it has none."""
    if median is None:
        return NOTHING
    missing = () if median.interval else (message("interval.none", count=median.count, least=MIN_VALUES),)
    return Cell(median.value, "ms", interval=median.interval, notes=(*missing, *notes))


def _relative(row: Row, estimate: Estimate | None, form: str) -> Cell:
    """Speed-up or efficiency, or why there is none."""
    if estimate is not None:
        return ratio_cell(estimate, form)
    if not row.is_valid:
        return WITHHELD
    if row.speed_up is None:
        return not_available(message("note.no_run_on_one_device")) if row.is_parallel else NOTHING
    if row.record.world.shared:
        return not_available(message("note.shares_a_gpu"))
    return not_available(message("note.on_cores", devices=row.devices, cores=row.record.environment.cpu_cores))


def _memory(row: Row) -> Cell:
    if not row.memory:
        return not_available(message("note.not_measured"))
    first, others = row.memory[0].peak_bytes, [device.peak_bytes for device in row.memory[1:]]
    if not others:
        all_in_one = row.devices > 1 and not row.on_gpu
        return Cell(first, "GiB", notes=(message("note.all_in_one"),) if all_in_one else ())
    mean = sum(others) / len(others)
    imbalance, total = message("note.imbalance", ratio=first / mean), message("note.in_all", bytes=first + sum(others))
    return Cell(first, "GiB", beside=mean, notes=(imbalance if row.on_gpu else total,))


def _energy(row: Row) -> Cell:
    energy = row.energy
    if energy is None:
        return not_available(message("note.not_counted_everywhere" if row.device_energy else "note.not_counted"))
    idle = (message("note.idle", share=energy.idle_share),) if energy.idle_share is not None else ()
    drawn = energy.per_thousand
    return Cell(drawn.value, "J", interval=drawn.interval, notes=idle)
