"""Figures of the answer: each method beside one device, how it scales, and both in a picture for a chat."""

from itertools import pairwise
from math import nan

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from common.analysis.comparing.facts import grouped
from common.analysis.comparing.rows import Row, RowName
from common.analysis.page.charts import (
    CARD,
    INK,
    MUTED,
    Plot,
    bar_chart,
    colour_of,
    draw_bars,
    draw_line,
    draw_mark,
    has_intervals,
    line_chart,
    titled,
)
from common.analysis.page.wording import Wording, flagged, flagged_in_line
from common.analysis.sections.answer import Answer, name_here
from common.analysis.sections.group import GroupResults
from common.analysis.sections.report import Report
from common.analysis.statistics.estimates import Estimate
from common.content import message
from common.formats import FORMATS
from common.records import METHODS, Record, method_order

MAX_POINTS = 60
CHAT = (6.0, 3.15)
"""Inches of the picture for a chat: at the 200 dpi of all PNG files 1200 × 630 pixels, which previews of links have."""


def compared(answer: Answer | None) -> list[Row]:
    """The rows that have a speed-up, and one device; nothing where none has one."""
    rows = [row for row in answer.rows if row.speed_up or not row.is_parallel] if answer else []
    return rows if any(row.speed_up for row in rows) else []


def draw_answer(report: Report, words: Wording) -> Plot | None:
    """A bar for each row's speed-up; a dashed mark where as many devices would ideally be."""
    rows = compared(report.answer)
    if not rows:
        return None
    unit = words.translate("figure.times_one_gpu" if rows[0].on_gpu else "figure.times_one_core")
    labels = _labels(rows, report.decision.failed, words)
    figure, axes = bar_chart(labels, unit, 1.3 * len(labels) + 0.6)
    notes = _draw_speed_ups(axes, rows, words)
    return titled(words, "answer", figure, map(str.splitlines, labels), *notes)


def _draw_speed_ups(axes: Axes, rows: list[Row], words: Wording) -> list[str]:
    """Bars with intervals and single runs, from the left edge to the ideal; returns what the caption says of that."""
    one = next(row for row in rows if row.speed_up).baseline
    speeds = [row.speed_up or Estimate(1.0) for row in rows]
    marks = [(row.devices, height) for height, row in enumerate(rows) if row.true_devices and row.devices > 1]
    axes.set_xlim(0, 1.06 * max([*(devices for devices, _ in marks), *(speed.bounds[1] for speed in speeds)]))
    axes.axvline(1, color=MUTED, linewidth=1, zorder=0.5)
    draw_bars(axes, speeds, map(colour_of, rows), [
        [one.seconds_per_sample.value / run.seconds_per_sample.value for run in row.runs[-MAX_POINTS:]]
        if row.speed_up else [] for row in rows
    ])  # fmt: skip
    for devices, height in marks:
        draw_mark(axes, devices, height, "--")
    if marks:
        axes.text(marks[0][0], marks[0][1] - 0.48, words.translate("figure.ideal"), ha="center", va="bottom")
    return ["ideal"] if marks else [] if all(row.true_devices for row in rows) else ["turns"]


def _labels(rows: list[Row], failed: Record | None, words: Wording) -> list[str]:
    """Names with what is measured: there no interval, dot or dashed mark crosses the numbers. Last: a method that
    failed, which has no bar."""
    labels = []
    for row in rows:
        speed = row.speed_up or Estimate(1.0)
        ends = [f"({FORMATS['times'](*speed.interval).number})"] if speed.interval else []
        measured = " ".join([words.number("times", speed.value), *ends])
        labels.append("\n".join([flagged(words, row, name=words.text(name_here(row))), measured]))
    if failed:
        name = RowName(failed.method, failed.world.devices, failed.world.nodes)
        labels.append(words.translate("figure.failed", row=name))
    return labels


def draw_scaling(results: GroupResults, words: Wording) -> Plot | None:
    """Speed-up against devices: ideal, measured, and predicted from one device. Rows that share devices do not scale,
    and are left out."""
    rows = [row for row in results.group.main_rows if row.speed_up and row.true_devices]
    predicted = [one for one in (results.prediction.forecasts if results.prediction else [])
                 if one.devices > 1 and one.nodes == 1]  # fmt: skip
    bands = grouped(predicted, lambda one: one.method)
    counts = sorted({1, *(row.devices for row in rows), *(one.devices for one in predicted)})
    if counts == [1]:
        return None  # there is no line to draw through a single count of devices
    figure, axes = line_chart(words.translate("figure.devices"), words.translate("figure.speed_up"), height=4.6)
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
        draw_line(axes, dict(sorted(points.items())), method, flagged_in_line(words, own[-1], label), **look)
    axes.set_xticks(counts)
    axes.set_ylim(bottom=0)
    axes.legend()
    shown = [(words.text(row.name), words.number("×", row.speed_up.value)) for row in rows]
    notes = ["predicted", "ideal"] if bands else ["ideal"]
    shown += [(words.translate("figure.predicted_of", method=words.text(one.name)), words.number("×", one.speed_up))
              for band in bands.values() for one in band]  # fmt: skip
    return titled(words, "scaling", figure, shown, *notes)


def draw_summary(report: Report, words: Wording) -> Plot | None:
    """The verdict with its bars, conditions, machine and day, as large as previews of links are."""
    rows = compared(report.answer)
    if not rows:
        return None
    figure = Figure(figsize=CHAT, facecolor=CARD)
    figure.set_layout_engine("constrained", rect=(0.015, 0.08, 0.97, 0.66))
    axes = figure.subplots()
    labels = _labels(rows, report.decision.failed, words)
    axes.set_yticks(range(len(labels)), labels, fontsize=10)
    axes.set_ylim(len(labels) - 0.4, -0.8)
    notes = _draw_speed_ups(axes, rows, words)
    axes.grid(axis="x", color=MUTED, linewidth=0.6, alpha=0.5)
    axes.set_xlabel(words.translate("figure.times_one_gpu" if rows[0].on_gpu else "figure.times_one_core"))
    source = words.translate("figure.source", device=report.groups[0].group.key["device_model"],
                             date=max(row.record.finished_at for row in rows)[:10],
                             runs=min(len(row.runs) for row in rows))  # fmt: skip
    source = words.paragraph([source, *([message("caption.intervals")] if has_intervals(figure) else [])])
    verdict, conditions = words.text(report.headline.verdict), report.headline.conditions or report.headline.outcome
    figure.text(0.025, 0.96, verdict, va="top", fontsize=16, fontweight="bold")
    figure.text(0.025, 0.85, words.text(conditions), va="top", fontsize=9, wrap=True)
    figure.text(0.025, 0.02, source, fontsize=8)
    return titled(words, "summary", figure, [[verdict]], *notes)
