"""Figures of one group, as matplotlib figures; `drawing.py` makes SVG and PNG of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.figure import Figure

from common.analysis.comparing.groups import Group, Row
from common.analysis.comparing.labels import METHOD_ORDER, SHORT_NAMES
from common.analysis.comparing.peak_memory import memory_of
from common.analysis.page.drawing import COLOURS, INK, MARKERS, MUTED, STYLE, new_figure
from common.analysis.statistics.estimates import Estimate

MOST_BARS, MOST_POINTS, MOST_DEVICES = 24, 60, 8
"""More than these make a figure unreadable (and a page of ten thousand runs endless)."""
STATIC_SHADES = {"parameters and buffers": 1.0, "gradients": 0.72, "optimizer state": 0.5}
REST_SHADE = 0.22


@dataclass(frozen=True)
class Plot:
    """A figure with the words that belong to it."""

    name: str
    title: str
    caption: str
    figure: Figure


def draw_all(group: Group) -> list[Plot]:
    """Every figure that the group has data for."""
    with mpl.rc_context(STYLE):
        drawn = [draw(group) for draw in (throughput, epoch_time, scaling, memory, loss)]
    return [plot for plot in drawn if plot]


def throughput(group: Group) -> Plot | None:
    caption = "Bars: Σ samples / Σ seconds. Lines: 95 % interval. Dots: single runs."
    figure = _bars(group, lambda row: row.throughput, lambda seconds, row: 1 / seconds, "samples/s, more is better")
    return figure and Plot("throughput", "Throughput", caption, figure)


def epoch_time(group: Group) -> Plot | None:
    caption = "Seconds for one epoch, waiting for data included. Lines: 95 % interval. Dots: single runs."
    figure = _bars(
        group,
        lambda row: row.epoch_time,
        lambda seconds, row: seconds * row.epoch_samples,
        "s, less is better",
    )
    return figure and Plot("epoch_time", "Time per epoch", caption, figure)


def _bars(
    group: Group, estimate_of: Callable[[Row], Estimate | None], point_of: Callable[[float, Row], float], unit: str
) -> Figure | None:
    """A bar for each valid row with its interval, and a dot for each run."""
    rows = [row for row in group.main_rows if row.is_valid][:MOST_BARS]
    if not rows:
        return None
    figure, axes = new_figure(len(rows))
    for height, row in enumerate(rows):
        estimate = estimate_of(row)
        axes.barh(height, estimate.value, 0.62, color=COLOURS[row.method])
        points = [point_of(run.seconds_per_sample.value, row) for run in row.runs[-MOST_POINTS:]]
        offsets = [height + 0.22 * ((place % 3) - 1) for place in range(len(points))]
        axes.plot(
            points, offsets, "o", markersize=3.5, markerfacecolor="none", markeredgecolor=INK, markeredgewidth=0.9
        )
        if estimate.interval:
            low, high = estimate.interval
            axes.errorbar(estimate.value, height, xerr=[[estimate.value - low], [high - estimate.value]], color=INK,
                          capsize=4, linewidth=1.4)  # fmt: skip
    name_bars(axes, [flagged(row.label, row, "\n") for row in rows], unit)
    return figure


def flagged(label: str, row: Row, break_: str) -> str:
    """A label that says what the row's devices really were, since a figure may travel without its page."""
    flags = [flag for flag in ("emulated", "shared", "oversubscribed") if getattr(row.record.world, flag)]
    return break_.join([label, *flags])


def name_bars(axes, labels: list[str], unit: str) -> None:
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.set_xlabel(unit)
    axes.grid(axis="x", color=MUTED, linewidth=0.6, alpha=0.5)


def scaling(group: Group) -> Plot | None:
    """Speed-up against devices, with the ideal; rows that share devices are left out, since they do not scale."""
    rows = [row for row in group.main_rows if row.speed_up and row.true_devices]
    if all(row.devices == 1 for row in rows):
        return None  # there is no line to draw through a single count of devices
    figure, axes = new_figure(5)
    most = max(row.devices for row in rows)
    axes.plot([1, most], [1, most], linestyle="--", color=MUTED, label="ideal")
    lines: dict[tuple, list[Row]] = {}
    for row in sorted(rows, key=lambda row: (METHOD_ORDER[row.method], row.record.world.nodes, row.devices)):
        lines.setdefault((row.method, row.record.world.nodes), []).append(row)
    for position, ((method, nodes), own) in enumerate(lines.items()):
        label = SHORT_NAMES[method] + (f" on {nodes} nodes" if nodes > 1 else "")
        _scaling_line(axes, own, flagged(label, own[-1], ", "), shift=0.02 * (position - (len(lines) - 1) / 2))
    axes.set_xticks(sorted({1, *(row.devices for row in rows)}))
    axes.set_ylim(bottom=0)
    axes.set_xlabel("devices")
    axes.set_ylabel("speed-up over one device")
    axes.grid(axis="y", color=MUTED, linewidth=0.6, alpha=0.5)
    axes.legend()
    return Plot(
        "scaling", "Scaling against the ideal", "Throughput over that of one device, with 95 % intervals.", figure
    )


def _scaling_line(axes, rows: list[Row], label: str, shift: float) -> None:
    """One method's points with their intervals, from (1, 1) on; `shift` keeps error bars of two methods apart."""
    method, nodes, estimates = rows[0].method, rows[0].record.world.nodes, [row.speed_up for row in rows]
    values = [1.0, *(estimate.value for estimate in estimates)]
    ends = [(1.0, 1.0), *(estimate.interval or (estimate.value, estimate.value) for estimate in estimates)]
    below = [value - low for value, (low, _) in zip(values, ends, strict=True)]
    above = [high - value for value, (_, high) in zip(values, ends, strict=True)]
    devices = [1.0, *(row.devices * (1 + shift) for row in rows)]
    line = "-" if len({row.devices for row in rows}) == len(rows) else "none"  # variants of one count form no line
    axes.errorbar(devices, values, yerr=[below, above], color=COLOURS[method], marker=MARKERS[method], markersize=5,
                  markerfacecolor="none" if nodes > 1 else None, linestyle=line, capsize=4, linewidth=1.6,
                  label=label)  # fmt: skip


def memory(group: Group) -> Plot | None:
    """Peak memory of every device, its static part apart from the rest."""
    bars = [
        (f"{row.label}, {peak.label}" if row.devices > 1 else row.label, row.method, peak)
        for row in group.main_rows
        for peak in memory_of(row)[:MOST_DEVICES]
    ][: 2 * MOST_BARS]
    if not bars:
        return None
    on_gpu = group.rows[0].record.world.device_kind == "cuda"
    rest = "activations and the rest" if on_gpu else "everything else in the process"
    figure, axes = new_figure(0.7 * len(bars) + 1.5)
    for height, (_, method, peak) in enumerate(bars):
        left = 0.0
        for part, size in peak.static.items():
            axes.barh(height, size / 2**30, 0.62, left=left, color=COLOURS[method], alpha=STATIC_SHADES[part])
            left += size / 2**30
        axes.barh(
            height, max(0.0, peak.peak_bytes / 2**30 - left), 0.62, left=left, color=COLOURS[method], alpha=REST_SHADE
        )
    for part, shade in (STATIC_SHADES | {rest: REST_SHADE}).items():
        axes.barh(0, 0, color=INK, alpha=shade, label=part)
    name_bars(axes, [label for label, _, _ in bars], "GiB at the peak")
    figure.legend(loc="outside lower center", ncols=2)
    if on_gpu:
        caption = "Peak in tensors (torch's allocator) on each device; the full colours are there whatever the batch."
    else:
        caption = (
            "Peak resident memory of each process. It contains Python, its libraries and the data; one replica's share "
            "of parameters, gradients and optimizer state has the full colours."
        )
    return Plot("memory", "Memory per device" if on_gpu else "Memory per process", caption, figure)


def loss(group: Group) -> Plot | None:
    rows = [row for row in group.main_rows if row.record.epochs][:MOST_BARS]
    if not rows:
        return None
    figure, axes = new_figure(5)
    for row in rows:
        losses = [epoch.mean_loss if epoch.mean_loss is not None else float("nan") for epoch in row.record.epochs]
        epochs = [epoch.epoch for epoch in row.record.epochs]
        axes.plot(epochs, losses, color=COLOURS[row.method], marker=MARKERS[row.method], markersize=5,
                  linestyle="-" if row.is_valid else ":", label=row.label)  # fmt: skip
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("epoch")
    axes.set_ylabel("mean training loss")
    axes.grid(axis="y", color=MUTED, linewidth=0.6, alpha=0.5)
    if len(rows) <= 8:
        axes.legend()
    caption = "Each row's newest run. Curves need not coincide: a larger global batch makes fewer, larger steps."
    return Plot("loss", "Training loss", caption, figure)
