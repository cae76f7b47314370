"""From which batch on several devices pay: sentences and a table of every method over batches."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

from common.analysis.comparing.crossover_batch import (
    BatchSeries,
    Measured,
    Predicted,
    measured_crossing,
    predicted_crossing,
)
from common.analysis.comparing.rows import ENOUGH_RUNS, RowName
from common.analysis.judging.banners import unusual_parts
from common.analysis.judging.cells import NOTHING, Cell, Column, Line, Table, columns, estimate_cell, ratio_cell
from common.analysis.judging.reasons import MAX_IDLE
from common.analysis.statistics.estimates import Estimate
from common.content.messages import Message, message
from common.records import METHODS, Method

NEAR = 0.95
"""Within 5 % of DDP's throughput."""
ONE = RowName("single", 1)


@dataclass(frozen=True)
class CatchingUp:
    """One series of batches, judged."""

    series: BatchSeries
    title: Message
    lines: list[Message]
    table: Table
    predicted: Predicted | None


def catching_up(series: BatchSeries) -> CatchingUp:
    """What a series shows: who is faster from which batch on, until when launches bind, and what was predicted."""
    key, predicted = series.key, predicted_crossing(series)
    parallel = _parallel(series)
    lines = [
        *(line for method in parallel for line in _reached("faster", series, (method, "single"), 1)),
        *(line for pair in combinations(parallel, 2) for line in _reached("near", series, pair, NEAR)),
        *_launches(series),
        *([_prediction(_name(series, "dp"), predicted, measured_crossing(series))] if predicted else []),
        *[message("batches.out_of_memory", row=_name(series, method), batch=batch)
          for method, batch in series.out_of_memory.items()],
    ]  # fmt: skip
    if not any(row.on_gpu for row in series.all_rows):
        lines.append(message("batches.cores"))
    title = message("batches.title", model=key["model"], parts=unusual_parts(key), device=key["device_model"])
    return CatchingUp(series, title, lines, _table(series), predicted)


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
    reached = first_above(ratios, limit)
    best = max(ratios, key=lambda batch: ratios[batch].value)
    how = "never" if reached is None else "everywhere" if reached == first else "from"
    at = best if reached is None else reached
    times = message("ratio.times_with_interval", ratio=ratios[at])
    yield message(f"batches.{what}_{how}", row=name, other=other, batch=at, first=first, last=last, times=times)


def first_above(ratios: Mapping[int, Estimate], limit: float) -> int | None:
    """The smallest batch from which on every interval lies above `limit`; None where the largest one's does not."""
    found = None
    for batch in sorted(ratios, reverse=True):
        interval = ratios[batch].interval
        if interval is None or interval[0] <= limit:
            break
        found = batch
    return found


def _launches(series: BatchSeries) -> Iterator[Message]:
    """Until which batch the device waits for launches, of every method that was taken apart at two batches or more."""
    for method in METHODS:
        # a rank that idles may wait for the others
        rows = {} if METHODS[method].synchronises_gradients else series.rows.get(method, {})
        idle = {batch: row.anatomy.idle_share for batch, row in rows.items() if row.anatomy}
        known = {batch: share for batch, share in idle.items() if share is not None}
        if len(known) < 2:
            continue
        bound = [batch for batch, share in known.items() if share > MAX_IDLE]
        free = [batch for batch in known if batch > max(bound, default=0)]
        how = "never" if not bound else "until" if free else "always"
        last, batch = max(bound, default=min(known)), min(free, default=max(known))
        name = _name(series, method)
        yield message(f"launches.{how}", row=name, last=last, batch=batch, idle=known[last], idle_then=known[batch])


def _name(series: BatchSeries, method: Method) -> RowName:
    return RowName(method, series.devices) if METHODS[method].is_parallel else ONE


def _prediction(name: RowName, found: Predicted, measured: Measured | None) -> Message:
    if measured is None:
        beside = message("nothing")
    elif measured.batch in (0, math.inf):
        id = "crossing.measured_everywhere" if measured.batch == 0 else "crossing.measured_nowhere"
        beside = message(id, first=measured.below, last=measured.above)
    else:
        sides = {"below": measured.below, "above": measured.above, "error": found.batch / measured.batch - 1}
        beside = message("crossing.measured", batch=measured.batch, **sides)
    id = "crossing.predicted" if found.batch else "crossing.predicted_everywhere"
    ends = (min(found.low, found.high), max(found.low, found.high))
    return message(id, row=name, host=found.host, batch=found.batch, low=ends[0], high=ends[1], measured=beside,
                   host_of_one=found.host_of_one, per_sample=found.seconds_per_sample)  # fmt: skip


def _table(series: BatchSeries) -> Table:
    """A line for each batch. Throughput is that of one device."""
    methods = [method for method in METHODS if method in series.rows]
    pairs = [*((method, "single") for method in _parallel(series)), *combinations(_parallel(series), 2)]
    quotients = [pair for pair in pairs if series.ratios(*pair)]
    ratios = [series.ratios(over, under) for over, under in quotients]
    shown: list[Column] = columns(
        ("per_device_batch", "global-batch"),
        *[(f"per_device.{method}" if METHODS[method].is_parallel else "one_device", "throughput")
          for method in methods],
        *[(f"quotient.{over}/{under}", "speed-up") for over, under in quotients],
    )  # fmt: skip
    lines = []
    for batch in series.batches:
        speeds = [_per_device(series, method, batch) for method in methods]
        times = [ratio_cell(found[batch], "×") if batch in found else NOTHING for found in ratios]
        lines.append(Line([Cell(batch, "count"), *speeds, *times]))
    return Table("batches", shown, lines, hint=message("hint.batches"))


def _per_device(series: BatchSeries, method: Method, batch: int) -> Cell:
    row = series.rows[method].get(batch)
    if row is None:
        limit = series.out_of_memory.get(method)
        return Cell(message("cell.out_of_memory")) if limit and batch >= limit else NOTHING
    return estimate_cell(row.throughput.scaled(1 / row.devices), "samples/s")
