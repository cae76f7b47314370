"""Figures that compare: the answer's, a group's, and what DDP's options do."""

from __future__ import annotations

from collections.abc import Callable
from math import nan
from typing import get_args

from matplotlib.patches import Patch

from common.analysis.comparing.groups import Group
from common.analysis.comparing.memory_and_energy import StaticPart
from common.analysis.comparing.rows import Row
from common.analysis.judging.verdicts import one_sample
from common.analysis.page.charts import (
    bar_chart,
    draw_bars,
    draw_intervals,
    draw_line,
    draw_mark,
    draw_stack,
    flagged,
    label_end,
    line_chart,
    titled,
)
from common.analysis.page.drawing import INK, MUTED, Plot
from common.analysis.page.wording import Wording
from common.analysis.sections.answer import Answer, name_here
from common.analysis.sections.options import Effect
from common.analysis.statistics.estimates import Estimate
from common.formats import FORMATS, number
from common.records import METHODS, method_order

MAX_BARS, MAX_POINTS, MAX_DEVICES = 24, 60, 8
"""More than these make a figure unreadable (and a page of ten thousand runs endless)."""
MIN_EPOCHS = 3
"""Two points make no curve."""
STATIC_SHADES: dict[str, float] = {"parameters_and_buffers": 1.0, "gradients": 0.72, "optimizer_state": 0.5}
REST_SHADE = 0.22


def draw_answer(answer: Answer | None, words: Wording) -> Plot | None:
    """A bar for each row's speed-up; a dashed mark where as many devices would ideally be."""
    rows = [row for row in answer.rows if row.speed_up or not row.is_parallel] if answer else []
    if not any(row.speed_up for row in rows):
        return None
    one = next(row for row in rows if row.speed_up).baseline
    speeds = [row.speed_up or Estimate(1.0) for row in rows]
    times = [FORMATS["×"](speed.value) for speed in speeds]
    marks = [(row.devices, height) for height, row in enumerate(rows) if row.speed_up and row.true_devices]
    # The number stands with the name, where no interval, dot or dashed mark crosses it.
    names = [f"{flagged(words, row, name=words.text(name_here(row)))}\n{time}"
             for row, time in zip(rows, times, strict=True)]  # fmt: skip
    unit = words.translate("figure.times_one_gpu" if rows[0].on_gpu else "figure.times_one_core")
    most = max([*(devices for devices, _ in marks), *(speed.bounds[1] for speed in speeds)])
    figure, axes = bar_chart(names, unit, 1.15 * len(rows) + 0.6, 1.06 * most)
    axes.axvline(1, color=MUTED, linewidth=1, zorder=0.5)
    draw_bars(axes, speeds, map(_colour, rows), [
        [one.seconds_per_sample.value / run.seconds_per_sample.value for run in row.runs[-MAX_POINTS:]]
        if row.speed_up else [] for row in rows
    ])  # fmt: skip
    for devices, height in marks:
        draw_mark(axes, devices, height, "--")
    if marks:
        axes.text(marks[0][0], marks[0][1] - 0.48, words.translate("figure.ideal"), ha="center", va="bottom")
    shown = zip(_names(rows, words), times, strict=True)
    return titled(words, "answer", figure, shown, caption="answer" if marks else "answer_turns",
                  sample=one_sample(rows[0]))  # fmt: skip


def draw_throughput(group: Group, words: Wording) -> Plot | None:
    """What each row trains a second, in what its model counts."""
    return _bars("throughput", group, words, "figure.more_is_better", group.rows[0].rate_form, lambda row: row.rate,
                 lambda seconds, row: row.rate.value / row.throughput.value / seconds)  # fmt: skip


def draw_epoch_time(group: Group, words: Wording) -> Plot | None:
    """Seconds of an epoch of each row."""
    return _bars("epoch_time", group, words, "figure.seconds", "s", lambda row: row.epoch_time,
                 lambda seconds, row: seconds * row.epoch_samples)  # fmt: skip


def _bars(
    name: str,
    group: Group,
    words: Wording,
    unit: str,
    form: str,
    estimate_of: Callable[[Row], Estimate],
    point_of: Callable[[float, Row], float],
) -> Plot | None:
    """A bar for each valid row; `point_of` gives a run's value from its seconds per sample."""
    rows = [row for row in group.main_rows if row.is_valid][:MAX_BARS]
    if not rows:
        return None
    estimates = [estimate_of(row) for row in rows]
    most = max(estimate.bounds[1] for estimate in estimates)
    figure, axes = bar_chart(
        [flagged(words, row) for row in rows], words.translate(unit, unit=words.unit(form)), len(rows), 1.22 * most
    )
    draw_bars(axes, estimates, map(_colour, rows), [
        [point_of(run.seconds_per_sample.value, row) for run in row.runs[-MAX_POINTS:]] for row in rows
    ])  # fmt: skip
    for height, estimate in enumerate(estimates):
        label_end(axes, estimate.bounds[1], height, FORMATS[form](estimate.value).number)
    values = [words.number(form, estimate.value) for estimate in estimates]
    return titled(words, name, figure, zip(_names(rows, words), values, strict=True))


def draw_scaling(group: Group, words: Wording) -> Plot | None:
    """Speed-up against devices, with the ideal; rows that share devices are left out, since they do not scale."""
    rows = [row for row in group.main_rows if row.speed_up and row.true_devices]
    if all(row.devices == 1 for row in rows):
        return None  # there is no line to draw through a single count of devices
    figure, axes = line_chart(words.translate("figure.devices"), words.translate("figure.speed_up"))
    most = max(row.devices for row in rows)
    axes.plot([1, most], [1, most], linestyle="--", color=MUTED, label=words.translate("figure.ideal"))
    lines: dict[tuple, list[Row]] = {}
    for row in sorted(rows, key=lambda row: (method_order(row.method), row.record.world.nodes, row.devices)):
        lines.setdefault((row.method, row.record.world.nodes), []).append(row)
    for position, ((method, nodes), own) in enumerate(lines.items()):
        label = words.translate(f"short.{method}")
        label = words.translate("row.on_nodes", row=label, nodes=nodes) if nodes > 1 else label
        apart = 1 + 0.02 * (position - (len(lines) - 1) / 2)  # keeps the intervals of two methods from each other
        points = {1.0: Estimate(1.0)} | {row.devices * apart: row.speed_up for row in own}
        look = {"linestyle": "-", "markerfacecolor": "none" if nodes > 1 else None}
        if len({row.devices for row in own}) < len(own):  # variants of one count form no line
            look["linestyle"] = "none"
        draw_line(axes, points, method, flagged(words, own[-1], words.translate("list.comma"), label), **look)
    axes.set_xticks(sorted({1, *(row.devices for row in rows)}))
    axes.set_ylim(bottom=0)
    axes.legend()
    values = [FORMATS["×"](row.speed_up.value) for row in rows]
    return titled(words, "scaling", figure, zip(_names(rows, words), values, strict=True))


def draw_memory(group: Group, words: Wording) -> Plot | None:
    """Peak memory of every device, its static part apart from the rest."""
    bars = [(row, peak) for row in group.main_rows for peak in row.memory[:MAX_DEVICES]][: 2 * MAX_BARS]
    if not bars:
        return None
    kind = "_gpu" if group.on_gpu else "_cpu"
    ids = {"device": "name.device", "rank": "name.rank_of"}
    names = [words.translate(ids[peak.kind], row=row.name, number=peak.number) if row.devices > 1
             else words.text(row.name) for row, peak in bars]  # fmt: skip
    peaks = [peak.peak_bytes / 2**30 for _, peak in bars]
    figure, axes = bar_chart(names, words.translate("figure.gib"), 0.7 * len(bars) + 1.5, 1.22 * max(peaks))
    shades: dict[str, float] = STATIC_SHADES | {f"rest{kind}": REST_SHADE}
    parts: dict[str, list[float]] = {
        part: [peak.static.get(part, 0) / 2**30 for _, peak in bars] for part in get_args(StaticPart)
    }
    parts[f"rest{kind}"] = [max(0.0, peak - sum(sizes)) for peak, *sizes in zip(peaks, *parts.values(), strict=True)]
    colours = [METHODS[row.method].colour for row, _ in bars]
    draw_stack(axes, parts, lambda part: {"color": colours, "alpha": shades[part]})
    for height, peak in enumerate(peaks):
        label_end(axes, peak, height, number(peak))
    keys = [
        Patch(color=INK, alpha=shade, lw=0, label=words.translate(f"figure.{part}")) for part, shade in shades.items()
    ]
    figure.legend(handles=keys, loc="outside lower center", ncols=2)
    sizes = [FORMATS["GiB"](peak.peak_bytes) for _, peak in bars]
    return titled(words, "memory", figure, zip(names, sizes, strict=True), kind)


def draw_loss(group: Group, words: Wording) -> Plot | None:
    """Mean loss of each epoch."""
    rows = [row for row in group.main_rows if len(row.record.epochs) >= MIN_EPOCHS][:MAX_BARS]
    if not rows:
        return None
    figure, axes = line_chart(words.translate("figure.epoch"), words.translate("figure.mean_loss"))
    for row in rows:
        epochs = row.record.epochs
        losses = [nan if epoch.mean_loss is None else epoch.mean_loss for epoch in epochs]
        axes.plot([epoch.epoch for epoch in epochs], losses, color=METHODS[row.method].colour, markersize=5,
                  marker=METHODS[row.method].marker, linestyle="-" if row.is_valid else ":",
                  label=words.text(row.name))  # fmt: skip
    axes.locator_params(axis="x", integer=True)
    if len(rows) <= 8:
        axes.legend()
    return titled(words, "loss", figure, [])


def draw_options(effects: list[Effect], words: Wording) -> Plot | None:
    """Throughput over that of the default options, with its interval; a line at 1, where an option does nothing."""
    effects = [effect for effect in effects if effect.quotient][:MAX_BARS]
    if not effects:
        return None
    several = len({effect.row.default_options_row for effect in effects}) > 1
    names = [flagged(words, effect.row, name=None if several else effect.row.name.options) for effect in effects]
    ratios = [effect.quotient for effect in effects]
    lines = [name.replace(" --", "\n--") for name in names]
    figure, axes = bar_chart(lines, words.translate("figure.times_defaults"), len(names))
    axes.axvline(1, color=INK, linewidth=1)
    axes.plot([ratio.value for ratio in ratios], range(len(ratios)), "o", color=METHODS["ddp"].colour, markersize=5)
    draw_intervals(axes, ratios, METHODS["ddp"].colour)
    values = [FORMATS["×"](ratio.value) for ratio in ratios]
    return titled(words, "options", figure, zip(names, values, strict=True))


def _colour(row: Row) -> dict:
    return {"color": METHODS[row.method].colour}


def _names(rows: list[Row], words: Wording) -> list[str]:
    return [words.text(row.name) for row in rows]
