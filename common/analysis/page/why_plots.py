"""Figures of the reasons: where a step goes, and how fast the machine exchanges gradients."""

from __future__ import annotations

import math

import matplotlib as mpl
from matplotlib.ticker import NullFormatter

from common.analysis.comparing.groups import Group
from common.analysis.comparing.step_anatomy import BETWEEN_DEVICES, PHASES
from common.analysis.page.drawing import CARD, COLOURS, INK, MARKERS, MUTED, PHASE_COLOURS, STYLE, new_figure
from common.analysis.page.plots import MOST_BARS, Plot, flagged, name_bars
from common.records import AllReduce


def steps(group: Group) -> Plot | None:
    """One stacked bar for each row that was taken apart: the phases of its slowest rank, in the order of a step."""
    rows = [row for row in group.main_rows if row.anatomy][:MOST_BARS]
    if not rows:
        return None
    slowest = [row.anatomy.slowest for row in rows]
    with mpl.rc_context(STYLE | {"hatch.linewidth": 0.7}):
        figure, axes = new_figure(1.1 * len(rows) + 1.6)
        for height, rank in enumerate(slowest):
            left = 0.0
            for name, phase in rank.phases.items():
                axes.barh(height, 1000 * phase.value, 0.62, left=left, **_style(name))
                left += 1000 * phase.value
            axes.plot([1000 * rank.step.value] * 2, [height - 0.42, height + 0.42], color=INK, linewidth=1.2)
        for name in PHASES:
            if any(name in rank.phases for rank in slowest):
                axes.barh(0, 0, label=name, **_style(name))
        name_bars(axes, [flagged(row.label, row, "\n") for row in rows], "ms a step, less is better")
        figure.legend(loc="outside lower center", ncols=4, handlelength=1.4, columnspacing=1.2)
    caption = (
        "Medians over extra steps after the measured epochs, on the rank with the most work of its own. Hatched: what "
        "only several devices do. Black mark: the whole step, whose median need not be the sum of the phases' medians."
    )
    return Plot("steps", "Where a step goes", caption, figure)


def _style(name: str) -> dict:
    hatch = "////" if name in BETWEEN_DEVICES else None
    return {"color": PHASE_COLOURS[name], "hatch": hatch, "edgecolor": CARD, "linewidth": 0.6}


def all_reduce(curve: AllReduce) -> Plot | None:
    """Bandwidth against message size, both logarithmic; sizes with a wrong sum have no speed."""
    times = [time for time in curve.times if time.seconds]
    if not times:
        return None
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(5.5)
        sizes = [time.bytes / 2**20 for time in times]
        lines = {"bus bandwidth": ("dp", "-", [time.bus_bandwidth_bytes_per_second / 1e9 for time in times])}
        if curve.ranks > 2:  # with two ranks both are the same
            speeds = [time.algorithm_bandwidth_bytes_per_second / 1e9 for time in times]
            lines["algorithm bandwidth"] = ("ddp", "--", speeds)
        for label, (look, line, speeds) in lines.items():
            axes.loglog(sizes, speeds, line, label=label, color=COLOURS[look],
                        marker=MARKERS[look], markersize=4.5, linewidth=1.6)  # fmt: skip
        axes.set_xlabel("message, MiB")
        axes.set_ylabel("GB/s")
        for axis, values in ((axes.xaxis, sizes), (axes.yaxis, [speed for *_, own in lines.values() for speed in own])):
            _whole_decades(axis, values)
        axes.grid(color=MUTED, linewidth=0.6, alpha=0.5)
        axes.legend()
    caption = (
        f"{curve.ranks} {curve.backend} ranks sum one message. Bus bandwidth is what each rank must send over its link "
        "in a ring" + (", with two ranks the same as algorithm bandwidth (bytes / time)." if curve.ranks == 2 else ".")
    )
    return Plot("all_reduce", "All-reduce between the devices", caption, figure)


def _whole_decades(axis, values: list[float]) -> None:
    """From one power of ten to another, labelled in plain digits, however little the values differ."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    axis.set_view_interval(10.0**low, 10.0 ** max(high, low + 1), ignore=True)
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())
