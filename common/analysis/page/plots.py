"""Figures of one group, as matplotlib figures; `drawing.py` makes SVG and PNG of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import nan

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from common.analysis.comparing.groups import Group
from common.analysis.comparing.memory_and_energy import StaticPart
from common.analysis.comparing.rows import Row
from common.analysis.page.drawing import INK, MUTED, STYLE, Plot, new_figure
from common.analysis.page.wording import Wording
from common.analysis.statistics.estimates import Estimate
from common.formats import FORMS, number
from common.records import METHODS, method_order

MAX_BARS, MAX_POINTS, MAX_DEVICES = 24, 60, 8
"""More than these make a figure unreadable (and a page of ten thousand runs endless)."""
MIN_EPOCHS = 3
"""Two points make no curve."""
STATIC_SHADES: dict[StaticPart, float] = {"parameters_and_buffers": 1.0, "gradients": 0.72, "optimizer_state": 0.5}
REST_SHADE = 0.22


def draw_all(group: Group, words: Wording) -> list[Plot]:
    """Every figure of the comparison that the group has data for."""
    with mpl.rc_context(STYLE):
        drawn = [draw(group, words) for draw in (_throughput, _epoch_time, _scaling, _memory, _loss)]
    return [plot for plot in drawn if plot]


def titled(name: str, figure: Figure, words: Wording, kind: str = "", caption: str = "", alt: str = "", **values):
    """A plot with its title and caption; `kind` where either depends on the device; `alt`: its numbers as text."""
    title = words.say(f"figure_title.{name}{kind}")
    return Plot(name, title, words.say(f"caption.{caption or name}{kind}", **values), figure, alt)


def said_of(words: Wording, rows: Sequence[Row], value_of: Callable[[Row], str]) -> str:
    """`One device 1,691 samples/s; DP × 2 1,045 samples/s`: what a figure shows, for those who do not see it."""
    return "; ".join(f"{words.text(row.name)} {value_of(row)}" for row in rows)


def label_bar(axes, end: float, height: float, text: str, most: float) -> None:
    """A number beside the end of a bar; `most` is the longest bar of all."""
    axes.text(end + 0.02 * most, height, text, va="center", ha="left")


def _throughput(group: Group, words: Wording) -> Plot | None:
    unit = words.say("figure.more_is_better")
    return _bars("throughput", group, words, lambda row: row.throughput, lambda seconds, row: 1 / seconds, unit,
                 "samples/s")  # fmt: skip


def _epoch_time(group: Group, words: Wording) -> Plot | None:
    unit = words.say("figure.seconds")
    return _bars("epoch_time", group, words, lambda row: row.epoch_time,
                 lambda seconds, row: seconds * row.epoch_samples, unit, "s")  # fmt: skip


def _bars(
    name: str,
    group: Group,
    words: Wording,
    estimate_of: Callable[[Row], Estimate | None],
    point_of: Callable[[float, Row], float],
    unit: str,
    form: str,
) -> Plot | None:
    """A bar for each valid row with its interval, and a dot for each run."""
    rows = [row for row in group.main_rows if row.is_valid][:MAX_BARS]
    if not rows:
        return None
    figure, axes = new_figure(len(rows))
    estimates = [estimate_of(row) for row in rows]
    draw_estimates(axes, rows, estimates, [
        [point_of(run.seconds_per_sample.value, row) for run in row.runs[-MAX_POINTS:]] for row in rows
    ])  # fmt: skip
    most = max(estimate.bounds[1] for estimate in estimates)
    for height, estimate in enumerate(estimates):
        label_bar(axes, estimate.bounds[1], height, FORMS[form](estimate.value).number, most)
    name_bars(axes, [flagged(words, row, "\n") for row in rows], unit)
    axes.set_xlim(0, 1.22 * most)
    return titled(
        name, figure, words, alt=said_of(words, rows, lambda row: words.written(form, estimate_of(row).value))
    )


def draw_estimates(
    axes: Axes, rows: Sequence[Row], estimates: Sequence[Estimate], runs: Sequence[Sequence[float]]
) -> None:
    """A bar for each row, its interval, and a dot for each of its runs."""
    heights = range(len(rows))
    colours = [METHODS[row.method].colour for row in rows]
    axes.barh(heights, [estimate.value for estimate in estimates], 0.62, color=colours)
    dots = [(value, height + 0.22 * (place % 3 - 1))
            for height, values in zip(heights, runs, strict=True) for place, value in enumerate(values)]  # fmt: skip
    axes.plot(*zip(*dots, strict=True), "o", markersize=3.5, markerfacecolor="none", markeredgecolor=INK,
              markeredgewidth=0.9)  # fmt: skip
    known = {height: estimate for height, estimate in zip(heights, estimates, strict=True) if estimate.interval}
    if known:
        axes.errorbar([estimate.value for estimate in known.values()], list(known), xerr=reach(known.values()),
                      fmt="none", ecolor=INK, capsize=4, elinewidth=1.4)  # fmt: skip


def reach(estimates: Iterable[Estimate]) -> list[tuple[float, ...]]:
    """How far each interval reaches below its estimate, and how far above it."""
    pairs = ((found.value - found.bounds[0], found.bounds[1] - found.value) for found in estimates)
    return list(zip(*pairs, strict=True))


def flagged(words: Wording, row: Row, separator: str, name: str | None = None) -> str:
    """A name that says what the row's devices really were, since a figure may travel without its page."""
    flags = [words.say(f"flag.{flag}") for flag in row.record.world.flags]
    return separator.join([name or words.text(row.name), *flags])


def name_bars(axes, labels: list[str], unit: str) -> None:
    """The bars' names from top to bottom, and what their length counts."""
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.set_xlabel(unit)
    axes.grid(axis="x", color=MUTED, linewidth=0.6, alpha=0.5)


def _scaling(group: Group, words: Wording) -> Plot | None:
    """Speed-up against devices, with the ideal; rows that share devices are left out, since they do not scale."""
    rows = [row for row in group.main_rows if row.speed_up and row.true_devices]
    if all(row.devices == 1 for row in rows):
        return None  # there is no line to draw through a single count of devices
    figure, axes = new_figure(5)
    most = max(row.devices for row in rows)
    axes.plot([1, most], [1, most], linestyle="--", color=MUTED, label=words.say("figure.ideal"))
    lines: dict[tuple, list[Row]] = {}
    for row in sorted(rows, key=lambda row: (method_order(row.method), row.record.world.nodes, row.devices)):
        lines.setdefault((row.method, row.record.world.nodes), []).append(row)
    for position, ((method, nodes), own) in enumerate(lines.items()):
        label = words.say(f"short.{method}")
        label = words.say("row.on_nodes", row=label, nodes=nodes) if nodes > 1 else label
        label = flagged(words, own[-1], words.say("list.comma"), label)
        _scaling_line(axes, own, label, shift=0.02 * (position - (len(lines) - 1) / 2))
    axes.set_xticks(sorted({1, *(row.devices for row in rows)}))
    axes.set_ylim(bottom=0)
    axes.set_xlabel(words.say("figure.devices"))
    axes.set_ylabel(words.say("figure.speed_up"))
    axes.grid(axis="y", color=MUTED, linewidth=0.6, alpha=0.5)
    axes.legend()
    alt = said_of(words, rows, lambda row: FORMS["×"](row.speed_up.value))
    return titled("scaling", figure, words, alt=alt)


def _scaling_line(axes, rows: list[Row], label: str, shift: float) -> None:
    """One method's points with their intervals, from (1, 1) on; `shift` keeps error bars of two methods apart."""
    method, nodes = METHODS[rows[0].method], rows[0].record.world.nodes
    points = [Estimate(1.0), *(row.speed_up for row in rows)]
    devices = [1.0, *(row.devices * (1 + shift) for row in rows)]
    line = "-" if len({row.devices for row in rows}) == len(rows) else "none"  # variants of one count form no line
    axes.errorbar(devices, [point.value for point in points], yerr=reach(points), color=method.colour,
                  marker=method.marker, markersize=5, markerfacecolor="none" if nodes > 1 else None, linestyle=line,
                  capsize=4, linewidth=1.6, label=label)  # fmt: skip


def _memory(group: Group, words: Wording) -> Plot | None:
    """Peak memory of every device, its static part apart from the rest."""
    bars = [(row, peak) for row in group.main_rows for peak in row.memory[:MAX_DEVICES]][: 2 * MAX_BARS]
    if not bars:
        return None
    kind = "_gpu" if group.on_gpu else "_cpu"
    most = max(peak.peak_bytes for _, peak in bars) / 2**30
    figure, axes = new_figure(0.7 * len(bars) + 1.5)
    heights, colours = range(len(bars)), [METHODS[row.method].colour for row, _ in bars]
    ends = [0.0] * len(bars)
    for part, shade in STATIC_SHADES.items():
        parts = [peak.static.get(part, 0) / 2**30 for _, peak in bars]
        axes.barh(heights, parts, 0.62, left=ends, color=colours, alpha=shade)
        ends = [end + size for end, size in zip(ends, parts, strict=True)]
    rest = [max(0.0, peak.peak_bytes / 2**30 - end) for (_, peak), end in zip(bars, ends, strict=True)]
    axes.barh(heights, rest, 0.62, left=ends, color=colours, alpha=REST_SHADE)
    for height, (_, peak) in enumerate(bars):
        label_bar(axes, peak.peak_bytes / 2**30, height, number(peak.peak_bytes / 2**30), most)
    shades = [*STATIC_SHADES.items(), (f"rest{kind}", REST_SHADE)]
    keys = [Patch(color=INK, alpha=shade, lw=0, label=words.say(f"figure.{name}")) for name, shade in shades]
    figure.legend(handles=keys, loc="outside lower center", ncols=2)
    names = [words.say("name.device" if peak.kind == "device" else "name.rank_of", row=row.name, number=peak.number)
             if row.devices > 1 else words.text(row.name) for row, peak in bars]  # fmt: skip
    name_bars(axes, names, words.say("figure.gib"))
    axes.set_xlim(0, 1.22 * most)
    sizes = [FORMS["GiB"](peak.peak_bytes) for _, peak in bars]
    alt = "; ".join(map(" ".join, zip(names, sizes, strict=True)))
    return titled("memory", figure, words, kind, alt=alt)


def _loss(group: Group, words: Wording) -> Plot | None:
    rows = [row for row in group.main_rows if len(row.record.epochs) >= MIN_EPOCHS][:MAX_BARS]
    if not rows:
        return None
    figure, axes = new_figure(5)
    for row in rows:
        epochs, method = row.record.epochs, METHODS[row.method]
        losses = [nan if epoch.mean_loss is None else epoch.mean_loss for epoch in epochs]
        axes.plot([epoch.epoch for epoch in epochs], losses, color=method.colour, marker=method.marker, markersize=5,
                  linestyle="-" if row.is_valid else ":", label=words.text(row.name))  # fmt: skip
    axes.locator_params(axis="x", integer=True)
    axes.set_xlabel(words.say("figure.epoch"))
    axes.set_ylabel(words.say("figure.mean_loss"))
    axes.grid(axis="y", color=MUTED, linewidth=0.6, alpha=0.5)
    if len(rows) <= 8:
        axes.legend()
    return titled("loss", figure, words)
