"""From which batch on several devices pay: sentences, figures and a table of every method over batches."""

import math
from collections.abc import Iterator
from itertools import combinations, takewhile

from common.analysis.comparing.crossover_batch import BatchSeries
from common.analysis.comparing.rows import RowName
from common.analysis.comparing.speedup import ENOUGH_RUNS
from common.analysis.comparing.utilisation import MAX_IDLE
from common.analysis.sections.comparison import estimate_cell, ratio_cell, unusual_parts
from common.content import NOTHING, Cell, Figure, Line, Lines, Message, Section, Table, columns, message, sheet
from common.records import METHODS, Method

NEAR = 0.95
"""Within 5 % of DDP's throughput."""
ONE = RowName("single", 1)


def crossover_section(number: int, series: BatchSeries) -> Section:
    """Who is faster from which batch on, until when launches bind, and what was predicted; `number` from 1."""
    parallel = _parallel(series)
    out_of_memory = [
        message("batches.out_of_memory", row=_name(series, method), batch=batch)
        for method, batch in series.out_of_memory.items()
    ]
    lines = [
        *(line for method in parallel for line in _reached("faster", series, (method, "single"), 1)),
        *(line for pair in combinations(parallel, 2) for line in _reached("near", series, pair, NEAR)),
        *_launches(series),
        *filter(None, [prediction_of(series)]),
        *out_of_memory,
    ]
    if not any(row.on_gpu for row in series.all_rows):
        lines.append(message("batches.cores"))
    key = series.key
    title = message("batches.title", model=key["model"], parts=unusual_parts(key), device=key["device_model"])
    figures = [Figure(f"batches{number}_batches_{name}") for name in ("throughput", "speed_up")]
    contents = [Lines(lines, "verdicts"), Section(style="figures", contents=figures), sheet(_table(series))]
    short = message("table.batches")
    return Section(f"batches-{number}", title, contents, short=short, style="group batches", brief=lines)


def _name(series: BatchSeries, method: Method) -> RowName:
    return RowName(method, series.devices) if METHODS[method].is_parallel else ONE


def _parallel(series: BatchSeries) -> list[Method]:
    return [method for method in METHODS if METHODS[method].is_parallel and method in series.rows]


def _reached(what: str, series: BatchSeries, methods: tuple[Method, Method], limit: float) -> Iterator[Message]:
    """From which batch on the whole interval of the ratio is above `limit`; the ratios as they were measured, without
    any certainty, where some rest on fewer than three runs."""
    ratios = series.ratios(*methods)
    if not ratios:
        return
    name, other = (_name(series, method) for method in methods)
    if not all(ratio.interval for ratio in ratios.values()):
        points = [message("batches.point", batch=batch, ratio=ratios[batch]) for batch in sorted(ratios)]
        runs = {len(series.rows[method][batch].runs) for method in methods for batch in ratios}
        how = "points_of_one_run" if runs == {1} else "points"
        yield message(f"batches.{how}", row=name, other=other, points=points, enough=ENOUGH_RUNS)
        return
    first, last = min(ratios), max(ratios)
    above = takewhile(lambda batch: ratios[batch].interval[0] > limit, sorted(ratios, reverse=True))
    reached = min(above, default=None)
    how = "never" if reached is None else "everywhere" if reached == first else "from"
    at = max(ratios, key=lambda batch: ratios[batch].value) if reached is None else reached
    times = message("ratio.times_with_interval", ratio=ratios[at])
    yield message(f"batches.{what}_{how}", row=name, other=other, batch=at, first=first, last=last, times=times)


def _launches(series: BatchSeries) -> Iterator[Message]:
    """Until which batch the device waits for launches, of every method that was taken apart at two batches or more."""
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
    predicted, measured = series.predicted, series.measured
    if predicted is None:
        return None
    comparison = message("nothing")
    if measured:
        batch, below, above = measured
        comparison = message("crossing.measured_nowhere" if batch else "crossing.measured_everywhere", first=below,
                             last=above)  # fmt: skip
        if 0 < batch < math.inf:
            comparison = message("crossing.measured", batch=batch, below=below, above=above,
                                 error=predicted.batch / batch - 1)  # fmt: skip
    id = "crossing.predicted" if predicted.batch else "crossing.predicted_everywhere"
    low, high = sorted((predicted.low, predicted.high))
    return message(id, row=_name(series, "dp"), batch=predicted.batch, low=low, high=high, measured=comparison,
                   host=predicted.host, host_of_one=predicted.host_of_one,
                   per_sample=predicted.seconds_per_sample)  # fmt: skip


def _table(series: BatchSeries) -> Table:
    """A line for each batch. Throughput is that of one device."""
    methods = [method for method in METHODS if method in series.rows]
    pairs = [*((method, "single") for method in _parallel(series)), *combinations(_parallel(series), 2)]
    ratios = {pair: ratios for pair in pairs if (ratios := series.ratios(*pair))}
    speeds = [f"per_device.{method}:throughput" if METHODS[method].is_parallel else "one_device:throughput"
              for method in methods]  # fmt: skip
    quotients = [f"quotient.{over}/{under}:speed-up" for over, under in ratios]
    shown = columns("per_device_batch:global-batch", *speeds, *quotients)
    lines = []
    for batch in series.batches:
        cells = [_per_device(series, method, batch) for method in methods]
        times = [ratio_cell(known[batch], "×") if batch in known else NOTHING for known in ratios.values()]
        lines.append(Line([Cell(batch, "count"), *cells, *times]))
    return Table("batches", shown, lines, hint=message("hint.batches"))


def _per_device(series: BatchSeries, method: Method, batch: int) -> Cell:
    row = series.rows[method].get(batch)
    if row is None:
        limit = series.out_of_memory.get(method)
        return Cell(message("cell.out_of_memory")) if limit and batch >= limit else NOTHING
    return estimate_cell(row.rate.scaled(1 / row.devices), row.rate_form)
