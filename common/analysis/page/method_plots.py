"""Figures of the methods beside each other: the answer, how they scale, throughput, memory and loss."""

from collections.abc import Sequence
from itertools import pairwise
from math import nan
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from common.analysis.comparing.facts import grouped
from common.analysis.comparing.groups import Group
from common.analysis.comparing.rows import Row, RowName
from common.analysis.judging.verdicts import device_here
from common.analysis.page import charts
from common.analysis.page.charts import INK, MUTED, Plot, flagged
from common.analysis.sections.answer import Answer
from common.analysis.sections.group import GroupResults
from common.analysis.sections.report import Report
from common.analysis.statistics.estimates import Estimate
from common.content import message
from common.formats import FORMATS, number
from common.records import METHODS, method_order
from common.sentences import Sentences

MAX_BARS, MAX_POINTS, MAX_DEVICES = 24, 60, 8
"""More than these make a figure unreadable (and a page of ten thousand runs endless)."""
MIN_EPOCHS = 3
"""Two points make no curve."""
CHAT = (6.0, 3.15)
"""Inches of the picture for a chat: at the 200 dpi of all PNG files 1200 × 630 pixels, which previews of links have."""
STATIC_SHADES: dict[Any, float] = {"parameters_and_buffers": 1.0, "gradients": 0.72, "optimizer_state": 0.5}
REST_SHADE = 0.22


def draw_answer(report: Report, words: Sentences) -> Plot | None:
    """A bar for each row's speed-up; a dashed mark where as many devices would ideally be."""
    rows = _compared(report.answer)
    if not rows:
        return None
    labels = _labels(report, rows, words)
    figure, axes = charts.bar_chart(labels, "", 1.3 * len(labels) + 0.6)
    notes = _draw_speed_ups(axes, rows, words)
    return charts.titled(words, "answer", figure, map(str.splitlines, labels), *notes)


def draw_summary(report: Report, words: Sentences) -> Plot | None:
    """The verdict with its bars, conditions, machine and day, as large as previews of links are."""
    rows = _compared(report.answer)
    if not rows:
        return None
    figure = Figure(figsize=CHAT, facecolor=charts.CARD)
    figure.set_layout_engine("constrained", rect=(0.015, 0.08, 0.97, 0.66))
    axes = figure.subplots()
    labels = _labels(report, rows, words)
    axes.set_yticks(range(len(labels)), labels, fontsize=10)
    axes.set_ylim(len(labels) - 0.4, -0.8)
    notes = _draw_speed_ups(axes, rows, words)
    axes.grid(axis="x", color=MUTED, linewidth=0.6, alpha=0.5)
    source = [message("figure.source", device=report.groups[0].group.key["device_model"],
                      date=max(row.record.finished_at for row in rows)[:10],
                      runs=min(len(row.runs) for row in rows))]  # fmt: skip
    source += [message("caption.intervals")] if charts.has_intervals(figure) else []
    verdict, conditions = words.text(report.headline.verdict), report.headline.conditions or report.headline.outcome
    figure.text(0.025, 0.96, verdict, va="top", fontsize=16, fontweight="bold")
    figure.text(0.025, 0.85, words.text(conditions), va="top", fontsize=9, wrap=True)
    figure.text(0.025, 0.02, words.paragraph(source), fontsize=8)
    return charts.titled(words, "summary", figure, [[verdict]], *notes)


def _compared(answer: Answer | None) -> list[Row]:
    """The rows that have a speed-up, and one device; nothing where none has one."""
    rows = [row for row in answer.rows if row.speed_up or not row.is_parallel] if answer else []
    return rows if any(row.speed_up for row in rows) else []


def _labels(report: Report, rows: Sequence[Row], words: Sentences) -> list[str]:
    """Names with what is measured: there no interval, dot or dashed mark crosses the numbers. Last: a method that
    failed, which has no bar."""
    labels = []
    for row in rows:
        speed = row.speed_up or Estimate(1.0)
        ends = f" ({FORMATS['times'](*speed.interval).number})" if speed.interval else ""
        name = row.name if row.is_parallel else message("one.capital", one=device_here(row))
        labels.append(f"{flagged(words, row, name=words.text(name))}\n{words.number('times', speed.value)}{ends}")
    if failed := report.decision.failed:
        of_failed = RowName(failed.method, failed.world.devices, failed.world.nodes)
        labels.append(words.translate("figure.failed", row=of_failed))
    return labels


def _draw_speed_ups(axes: Axes, rows: list[Row], words: Sentences) -> list[str]:
    """Bars with intervals and single runs, from the left edge to the ideal; returns what the caption says of that."""
    one = next(row for row in rows if row.speed_up).baseline
    speeds = [row.speed_up or Estimate(1.0) for row in rows]
    marks = [(row.devices, height) for height, row in enumerate(rows) if row.true_devices and row.devices > 1]
    axes.set_xlim(0, 1.06 * max([*(devices for devices, _ in marks), *(speed.bounds[1] for speed in speeds)]))
    axes.set_xlabel(words.translate("figure.times_one_gpu" if rows[0].on_gpu else "figure.times_one_core"))
    axes.axvline(1, color=MUTED, linewidth=1, zorder=0.5)
    charts.draw_bars(axes, speeds, [{"color": METHODS[row.method].colour} for row in rows], [
        [one.seconds_per_sample.value / run.seconds_per_sample.value for run in row.runs[-MAX_POINTS:]]
        if row.speed_up else [] for row in rows
    ])  # fmt: skip
    for devices, height in marks:
        charts.draw_mark(axes, devices, height, "--")
    if marks:
        axes.text(marks[0][0], marks[0][1] - 0.48, words.translate("figure.ideal"), ha="center", va="bottom")
    return ["ideal"] if marks else [] if all(row.true_devices for row in rows) else ["turns"]


def draw_scaling(results: GroupResults, words: Sentences) -> Plot | None:
    """Speed-up against devices: ideal, measured, and predicted from one device. Rows that share devices do not scale,
    and are left out."""
    rows = [row for row in results.group.main_rows if row.speed_up and row.true_devices]
    predicted = [one for one in (results.prediction.forecasts if results.prediction else [])
                 if one.devices > 1 and one.nodes == 1]  # fmt: skip
    counts = sorted({1, *(row.devices for row in rows), *(one.devices for one in predicted)})
    if counts == [1]:
        return None  # there is no line to draw through a single count of devices
    figure, axes = charts.chart(words.translate("figure.devices"), words.translate("figure.speed_up"), height=4.6)
    bands = grouped(predicted, lambda one: one.method)
    for method, band in bands.items():
        devices = [1, *(one.devices for one in band)]
        low, high = zip((1.0, 1.0), *(one.speed_up_range for one in band), strict=True)
        label, colour = words.translate("figure.predicted_of", method=METHODS[method].short), METHODS[method].colour
        axes.fill_between(devices, low, high, facecolor=(colour, 0.22), edgecolor=colour, linewidth=0.8, label=label)
    axes.plot([1, counts[-1]], [1, counts[-1]], "--", color=INK, linewidth=1.2, label=words.translate("figure.ideal"))
    lines = grouped(sorted(rows, key=lambda row: (method_order(row.method), row.record.world.nodes, row.devices)),
                    lambda row: (row.method, row.record.world.nodes))  # fmt: skip
    for position, ((method, nodes), own) in enumerate(lines.items()):
        label = words.translate(f"short.{method}")
        label = words.translate("row.on_nodes", row=label, nodes=nodes) if nodes > 1 else label
        apart = 1 + 0.02 * (position - (len(lines) - 1) / 2)  # keeps the intervals of two methods from each other
        gaps = [one for one, other in pairwise([1, *(row.devices for row in own)]) if other > 2 * one]
        points = {1.0: Estimate(1.0)} | {row.devices * apart: row.speed_up for row in own}
        points |= {1.5 * devices: Estimate(nan) for devices in gaps}  # no line over counts that were not measured
        has_variants = len({row.devices for row in own}) < len(own)  # of one count: they form no line
        look = {"linestyle": "none" if has_variants or len(gaps) == len(own) else "-",
                "markerfacecolor": "none" if nodes > 1 else None}  # fmt: skip
        label = flagged(words, own[-1], label, in_line=True)
        charts.draw_line(axes, dict(sorted(points.items())), method, label, **look)
    axes.set_xticks(counts)
    axes.set_ylim(bottom=0)
    axes.legend()
    shown = [(words.text(row.name), words.number("×", row.speed_up.value)) for row in rows]
    shown += [(words.translate("figure.predicted_of", method=words.text(one.name)), words.number("×", one.speed_up))
              for band in bands.values() for one in band]  # fmt: skip
    return charts.titled(words, "scaling", figure, shown, *(["predicted"] if bands else []), "ideal")


def draw_throughput(group: Group, words: Sentences) -> Plot | None:
    """What each valid row trains a second, in what its model counts."""
    rows = [row for row in group.main_rows if row.is_valid][:MAX_BARS]
    if not rows:
        return None
    speeds, form = [row.rate for row in rows], rows[0].rate_form
    unit, right = words.unit(form), 1.22 * max(speed.bounds[1] for speed in speeds)
    figure, axes = charts.bar_chart([flagged(words, row) for row in rows],
                                    words.translate("figure.more_is_better", unit=unit), len(rows), right)  # fmt: skip
    charts.draw_bars(axes, speeds, [{"color": METHODS[row.method].colour} for row in rows],
                     [[row.seconds_per_sample.value / run.seconds_per_sample.value * row.rate.value
                       for run in row.runs[-MAX_POINTS:]] for row in rows])  # fmt: skip
    for height, speed in enumerate(speeds):
        charts.label_end(axes, speed.bounds[1], height, FORMATS[form](speed.value).number)
    shown = [(words.text(row.name), words.number(form, row.rate.value)) for row in rows]
    return charts.titled(words, "throughput", figure, shown)


def draw_memory(group: Group, words: Sentences) -> Plot | None:
    """Peak memory of every device, its static part apart from the rest."""
    bars = [(row, peak) for row in group.main_rows for peak in row.memory[:MAX_DEVICES]][: 2 * MAX_BARS]
    if not bars:
        return None
    ids = {"device": "name.device", "rank": "name.rank_of"}
    names = [words.translate(ids[peak.kind], row=row.name, number=peak.number) if row.devices > 1
             else words.text(row.name) for row, peak in bars]  # fmt: skip
    peaks = [peak.peak_bytes / 2**30 for _, peak in bars]
    figure, axes = charts.bar_chart(names, words.translate("figure.gib"), 0.7 * len(bars) + 1.5, 1.22 * max(peaks))
    parts = {part: [peak.static.get(part, 0) / 2**30 for _, peak in bars] for part in STATIC_SHADES}
    kind = "_gpu" if group.on_gpu else "_cpu"
    parts[f"rest{kind}"] = [max(0.0, peak - sum(sizes)) for peak, *sizes in zip(peaks, *parts.values(), strict=True)]
    shades = STATIC_SHADES | {f"rest{kind}": REST_SHADE}
    colours = [METHODS[row.method].colour for row, _ in bars]
    charts.draw_stack(axes, parts, lambda part: {"color": colours, "alpha": shades[part]})
    for height, peak in enumerate(peaks):
        charts.label_end(axes, peak, height, number(peak))
    keys = [Patch(color=INK, alpha=shade, lw=0, label=words.translate(f"figure.{part}"))
            for part, shade in shades.items()]  # fmt: skip
    figure.legend(handles=keys, loc="outside lower center", ncols=2)
    sizes = [FORMATS["GiB"](peak.peak_bytes) for _, peak in bars]
    return charts.titled(words, "memory", figure, zip(names, sizes, strict=True), kind=kind)


def draw_loss(group: Group, words: Sentences) -> Plot | None:
    """Mean loss of each epoch. The caption says where DP and DDP train the same global batch, but BatchNorm sees other
    parts of it: DP deals it out in blocks, DDP's rank r has every n-th sample."""
    rows = [row for row in group.main_rows if len(row.record.epochs) >= MIN_EPOCHS][:MAX_BARS]
    if not rows:
        return None
    figure, axes = charts.chart(words.translate("figure.epoch"), words.translate("figure.mean_loss"))
    normalised = set()
    for row in rows:
        config, epochs, method = row.record.config, row.record.epochs, METHODS[row.method]
        losses = [nan if epoch.mean_loss is None else epoch.mean_loss for epoch in epochs]
        axes.plot([epoch.epoch for epoch in epochs], losses, color=method.colour, markersize=5, marker=method.marker,
                  linestyle="-" if row.is_valid else ":", label=words.text(row.name))  # fmt: skip
        # A model with buffers is taken to have BatchNorm; those of tokens have none.
        memory, has_sync_bn = row.record.static_memory, config.ddp and config.ddp.sync_bn
        if row.devices > 1 and memory and memory.buffer_bytes > 0 and config.unit != "tokens" and not has_sync_bn:
            normalised.add((row.method, config.global_batch_size))
    axes.locator_params(axis="x", integer=True)
    if len(rows) <= 8:
        axes.legend()
    in_other_parts = any({("dp", batch), ("ddp", batch)} <= normalised for _, batch in normalised)
    return charts.titled(words, "loss", figure, [], *(["loss_of_parts"] if in_other_parts else []))
