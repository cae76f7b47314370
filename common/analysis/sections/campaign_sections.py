"""Sections of two campaigns: one switch after another, and from which batch on several devices pay."""

import math
from collections.abc import Iterator, Mapping
from itertools import combinations, takewhile
from pathlib import PurePath

from common.analysis.comparing.crossover_batch import BatchSeries
from common.analysis.comparing.one_change import Ladder
from common.analysis.comparing.rows import Row, RowName
from common.analysis.comparing.speedup import ENOUGH_RUNS, speedup
from common.analysis.comparing.utilisation import MAX_IDLE
from common.analysis.judging.proposals import own_address
from common.analysis.judging.verdicts import rate_of
from common.analysis.sections.changes import changed
from common.analysis.sections.comparison import estimate_cell, ratio_cell, runs_note, speed_cell, unusual_parts
from common.analysis.statistics.estimates import Estimate
from common.content import NOTHING, Cell, Column, Commands, Figure, Line, Lines, Section, Table, columns
from common.messages import Message, message
from common.records import METHODS, Method

LEAST_FALL = 0.9
"""With the top's switches the loss falls by at least so much of what it falls by at first, at equal batch."""
NEAR = 0.95
"""Within 5 % of DDP's throughput."""


def ladder_section(ladder: Ladder) -> Section:
    """All that the ladder shows; the commands of its top configuration, on one device and on all."""
    lines = [
        height(ladder),
        *([_trains(ladder)] if ladder.top is not ladder.first else []),
        *(message("ladder.failed", what=changed(trial.fact, trial.values), message=trial.failed.record.failure.message)
          for trial in ladder.trials if trial.failed),
    ]  # fmt: skip
    record = ladder.top.record
    # Without what takes its steps apart, as anybody would want it.
    command = record.command.replace(" --anatomy-steps 0", "")
    script = next(word for word in command.split() if PurePath(word).name.startswith("02_"))
    devices = len(record.environment.gpus) or min(record.environment.alike_cores, 4)
    on_all = METHODS["ddp"].command(command.partition(f"{script} ")[2], devices,
                                    address=own_address(record, ladder.top.probed))  # fmt: skip
    commands = [Commands([command], message("ladder.command")), Commands([on_all], message("ladder.on_all_devices"))]
    shown = Section(style="beside", contents=[Figure("all_ladder", is_titled=False), Section(contents=commands)])
    return Section("one-device", message("table.ladder"), [Lines(lines, "verdicts"), shown, _ladder_table(ladder)],
                   style="group changes", brief=lines, commands=[command])  # fmt: skip


def height(ladder: Ladder) -> Message:
    """How much faster the top configuration is than the first."""
    if ladder.top is ladder.first:
        return message("ladder.stays", first=rate_of(ladder.first))
    ratio = speedup(ladder.top, ladder.first)
    times = message("ratio.times_with_interval" if ratio.interval else "ratio.times", ratio=ratio)
    return message("ladder.height", first=rate_of(ladder.first), top=rate_of(ladder.top), times=times)


def _trains(ladder: Ladder) -> Message:
    """Whether the loss of the top's switches falls as the first configuration's does, both at the first batch."""
    rows = (ladder.first, ladder.at_first_batch)
    before, after = ([epoch.mean_loss for epoch in row.record.epochs] if row else [] for row in rows)
    if min(len(before), len(after)) < 2 or None in (*before, *after) or before[0] <= before[-1]:
        return message("ladder.not_checked")
    is_as_steep = after[0] - after[-1] >= LEAST_FALL * (before[0] - before[-1])
    id = "ladder.trains" if is_as_steep else "ladder.does_not_train"
    return message(id, before=before[0], before_end=before[-1], after=after[0], after_end=after[-1], least=LEAST_FALL,
                   epochs=len(after))  # fmt: skip


def _ladder_table(ladder: Ladder) -> Table:
    """A line for each trial, the first configuration on top."""
    peak = "gpu_peak:memory" if ladder.first.on_gpu else "process_peak:memory"
    shown = columns("rung:ladder", "throughput", "times_as_fast:ladder", "effect:ladder", peak)
    rungs: list[tuple[Message, Row | None, Cell, Cell]] = [(message("ladder.start"), ladder.first, NOTHING, NOTHING)]
    for trial in ladder.trials:
        times = ratio_cell(trial.quotient, "×") if trial.quotient else NOTHING
        rungs.append((changed(trial.fact, trial.values), trial.row, times, Cell(message(f"rung.{trial.outcome}"))))
    lines = []
    for name, row, times, outcome in rungs:
        speed = speed_cell(row, []) if row else NOTHING
        memory = Cell(row.memory[0].peak_bytes, "GiB") if row and row.memory else NOTHING
        head = Cell(name, notes=(runs_note(row),) if row else ())
        lines.append(Line([head, speed, times, outcome, memory], "single"))
    return Table("ladder", shown, lines, hint=message("hint.ladder"))


def crossover_section(number: int, series: BatchSeries) -> Section:
    """Who is faster from which batch on, until when launches bind, and what was predicted; `number` from 1."""
    parallel = [method for method in METHODS if METHODS[method].is_parallel and method in series.rows]
    pairs = [*((method, "single") for method in parallel), *combinations(parallel, 2)]
    ratios = {pair: of_pair for pair in pairs if (of_pair := series.ratios(*pair))}
    lines = [*(_reached(series, *pair, of_pair) for pair, of_pair in ratios.items()), *_launches(series)]
    lines += filter(None, [prediction_of(series)])
    lines += [message("batches.out_of_memory", row=_name(series, method), batch=batch)
              for method, batch in series.out_of_memory.items()]  # fmt: skip
    if not any(row.on_gpu for row in series.all_rows):
        lines.append(message("batches.cores"))
    key = series.key
    title = message("batches.title", model=key["model"], parts=unusual_parts(key), device=key["device_model"])
    figures = [Figure(f"batches{number}_batches_{name}") for name in ("throughput", "speed_up")]
    table = _batches_table(series, ratios).with_title
    shown = [Lines(lines, "verdicts"), Section(style="figures", contents=figures), table]
    return Section(f"batches-{number}", title, shown, message("table.batches"), "group batches", brief=lines)


def _name(series: BatchSeries, method: Method) -> RowName:
    return RowName(method, series.devices if METHODS[method].is_parallel else 1)


def _reached(series: BatchSeries, method: Method, other: Method, ratios: dict[int, Estimate]) -> Message:
    """From which batch on the whole interval of the ratio is above 1 (of two parallel methods: near it); the ratios as
    they were measured, without any certainty, where some rest on fewer than three runs."""
    what, limit = ("near", NEAR) if METHODS[other].is_parallel else ("faster", 1.0)
    names = {"row": _name(series, method), "other": _name(series, other)}
    if not all(ratio.interval for ratio in ratios.values()):
        points = [message("batches.point", batch=batch, ratio=ratios[batch]) for batch in ratios]
        runs = {len(series.rows[one][batch].runs) for one in (method, other) for batch in ratios}
        how = "points_of_one_run" if runs == {1} else "points"
        return message(f"batches.{how}", points=points, enough=ENOUGH_RUNS, **names)
    first, last = min(ratios), max(ratios)
    above = takewhile(lambda batch: ratios[batch].interval[0] > limit, reversed(ratios))
    reached = min(above, default=None)
    how = "never" if reached is None else "everywhere" if reached == first else "from"
    at = max(ratios, key=lambda batch: ratios[batch].value) if reached is None else reached
    times = message("ratio.times_with_interval", ratio=ratios[at])
    return message(f"batches.{what}_{how}", batch=at, first=first, last=last, times=times, **names)


def _launches(series: BatchSeries) -> Iterator[Message]:
    """Until which batch the device waits for launches, of every method that was profiled at two batches or more."""
    for method in METHODS:
        # a rank that idles may wait for the others
        rows = {} if METHODS[method].synchronises_gradients else series.rows.get(method, {})
        idle = {batch: row.profile.idle_share for batch, row in rows.items() if row.profile}
        known = {batch: share for batch, share in idle.items() if share is not None}
        if len(known) < 2:
            continue
        bound = [batch for batch, share in known.items() if share > MAX_IDLE]
        free = [batch for batch in known if batch > max(bound, default=0)]
        how = "never" if not bound else "until" if free else "always"
        last, batch = max(bound, default=min(known)), min(free, default=max(known))
        name = _name(series, method)
        yield message(f"launches.{how}", row=name, last=last, batch=batch, idle=known[last], idle_then=known[batch])


def prediction_of(series: BatchSeries) -> Message | None:
    """What was predicted of where DP catches up with one device, with what was measured."""
    predicted, comparison = series.predicted, message("nothing")
    if predicted is None:
        return None
    if series.measured:
        batch, below, above = series.measured
        if 0 < batch < math.inf:
            error = predicted.batch / batch - 1
            comparison = message("crossing.measured", batch=batch, below=below, above=above, error=error)
        else:
            where = "nowhere" if batch else "everywhere"
            comparison = message(f"crossing.measured_{where}", first=below, last=above)
    id = "crossing.predicted" if predicted.batch else "crossing.predicted_everywhere"
    low, high = sorted((predicted.low, predicted.high))
    return message(id, row=_name(series, "dp"), batch=predicted.batch, low=low, high=high, measured=comparison,
                   host=predicted.host, host_of_one=predicted.host_of_one,
                   per_sample=predicted.seconds_per_sample)  # fmt: skip


def _batches_table(series: BatchSeries, ratios: Mapping[tuple[Method, Method], dict[int, Estimate]]) -> Table:
    """A line for each batch. Throughput is that of one device."""
    methods = [method for method in METHODS if method in series.rows]
    speeds = [f"per_device.{method}:throughput" if METHODS[method].is_parallel else "one_device:throughput"
              for method in methods]  # fmt: skip
    shown = columns("per_device_batch:global-batch", *speeds)
    for over, under in ratios:
        other = message(f"short.{under}" if METHODS[under].is_parallel else "row.single_within")
        shown.append(Column("quotient", "speed-up", (message(f"short.{over}"), other)))
    lines = []
    for batch in series.batches:
        cells = [Cell(batch, "count")]
        for method in methods:
            limit = series.out_of_memory.get(method)
            if row := series.rows[method].get(batch):
                cells.append(estimate_cell(row.rate.scaled(1 / row.devices), row.rate_form))
            else:
                cells.append(Cell(message("cell.out_of_memory")) if limit and batch >= limit else NOTHING)
        cells += [ratio_cell(known[batch], "×") if batch in known else NOTHING for known in ratios.values()]
        lines.append(Line(cells))
    return Table("batches", shown, lines, hint=message("hint.batches"))
