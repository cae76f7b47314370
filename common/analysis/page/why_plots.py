"""Figures of the reasons: where a step goes, and how fast the machine exchanges gradients."""

from __future__ import annotations

import math

import matplotlib as mpl
from matplotlib.ticker import NullLocator

from common.analysis.comparing.groups import Group
from common.analysis.page.drawing import CARD, INK, MUTED, PHASE_COLOURS, STYLE, Plot, new_figure
from common.analysis.page.plots import MAX_BARS, flagged, label_bar, name_bars, said_of, titled
from common.analysis.page.wording import Wording
from common.analysis.reading.step_anatomy import BETWEEN_DEVICES, PHASES
from common.formats import FORMS
from common.records import METHODS, AllReduce, PhaseName


def draw_steps(group: Group, words: Wording) -> Plot | None:
    """One stacked bar for each row that was taken apart: the phases of its slowest rank, in the order of a step."""
    rows = [row for row in group.main_rows if row.anatomy][:MAX_BARS]
    if not rows:
        return None
    slowest = [row.anatomy.slowest for row in rows]
    steps = [{"step": rank.step.value} | {name: part.value for name, part in rank.phases.items()} for rank in slowest]
    with mpl.rc_context(STYLE | {"hatch.linewidth": 0.7}):
        figure, axes = new_figure(1.1 * len(rows) + 1.6)
        heights, ends = range(len(rows)), [0.0] * len(rows)
        longest = max(seconds["step"] for seconds in steps)
        for name in PHASES:
            parts = [seconds.get(name, 0.0) for seconds in steps]
            if any(parts):
                is_seen = max(parts) > LEAST_SEEN * longest
                axes.barh(heights, [1000 * part for part in parts], 0.62, left=[1000 * end for end in ends],
                          label=words.say(f"phase.{name}") if is_seen else None, **_style(name))  # fmt: skip
            ends = [end + part for end, part in zip(ends, parts, strict=True)]
        for height, seconds in enumerate(steps):
            axes.plot([1000 * seconds["step"]] * 2, [height - 0.42, height + 0.42], color=INK, linewidth=1.2)
        name_bars(axes, [flagged(words, row, "\n") for row in rows], words.say("figure.ms_a_step"))
        for height, (seconds, end) in enumerate(zip(steps, ends, strict=True)):
            far = 1000 * max(seconds["step"], end)
            label_bar(axes, far, height, FORMS["ms"](seconds["step"]).number, 1000 * longest)
        axes.set_xlim(0, 1200 * longest)
        figure.legend(loc="outside lower center", ncols=3, handlelength=1.4, columnspacing=1.2)
    times = {row: FORMS["ms"](seconds["step"]) for row, seconds in zip(rows, steps, strict=True)}
    return titled("steps", figure, words, alt=said_of(words, rows, times.__getitem__))


LEAST_SEEN = 0.01
"""Share of the longest step below which a phase is narrower than its own edge."""


def _style(name: PhaseName) -> dict:
    hatch = "////" if name in BETWEEN_DEVICES else None
    return {"color": PHASE_COLOURS[name], "hatch": hatch, "edgecolor": CARD, "linewidth": 0.6}


def draw_all_reduce(curve: AllReduce, words: Wording) -> Plot | None:
    """Bandwidth against message size, both logarithmic; sizes with a wrong sum have no speed."""
    times = [time for time in curve.times if time.seconds]
    if not times:
        return None
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(5.5)
        sizes = [time.bytes / 2**20 for time in times]
        lines = {
            words.say("figure.bus_bandwidth"): (
                PHASE_COLOURS["exchange"],
                "-",
                [time.bus_bandwidth_bytes_per_second / 1e9 for time in times],
            )
        }
        if curve.ranks > 2:  # with two ranks both are the same
            speeds = [time.algorithm_bandwidth_bytes_per_second / 1e9 for time in times]
            lines[words.say("figure.algorithm_bandwidth")] = (METHODS["single"].colour, "--", speeds)
        for label, (colour, line, speeds) in lines.items():
            axes.loglog(sizes, speeds, line, label=label, color=colour, marker=".", markersize=7, linewidth=1.6)
        axes.set_xlabel(words.say("figure.message"))
        axes.set_ylabel(words.say("figure.bandwidth"))
        for axis, values in ((axes.xaxis, sizes), (axes.yaxis, [speed for *_, own in lines.values() for speed in own])):
            _whole_decades(axis, values)
        axes.grid(color=MUTED, linewidth=0.6, alpha=0.5)
        axes.legend()
    caption = "all_reduce_of_two" if curve.ranks == 2 else "all_reduce"
    ends = [times[0], times[-1]]
    alt = "; ".join(f"{FORMS['B'](time.bytes)} {FORMS['B/s'](time.bus_bandwidth_bytes_per_second)}" for time in ends)
    return titled("all_reduce", figure, words, caption=caption, alt=alt, ranks=curve.ranks, backend=curve.backend)


def _whole_decades(axis, values: list[float]) -> None:
    """From one power of ten to another, labelled in plain digits, however little the values differ."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    axis.set_view_interval(10.0**low, 10.0 ** max(high, low + 1), ignore=True)
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())
