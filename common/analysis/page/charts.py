"""How figures look, how they become SVG and PNG, and the kinds of chart that all of them are made of.

Files carry these colours, on white; on the page the style sheet's stand in their place (`rendering.on_page`).
"""

import io
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from common.analysis.comparing.rows import Row
from common.analysis.statistics.estimates import Estimate
from common.records import METHODS, Method, PhaseName
from common.sentences import Sentences

Points = Mapping[int, Estimate] | Mapping[float, Estimate]
"""Estimates by their places on the other axis."""

INK, MUTED, CARD = "#24292f", "#a9b1ba", "#ffffff"
PHASE_COLOURS: dict[PhaseName, str] = {
    "data wait": "#a4b1bd",
    "copy": "#dacfb0",
    "scatter": "#e4b437",
    "replicate": "#aa4847",
    "forward": "#6ac7fb",
    "gather": "#a87111",
    "loss": "#303449",
    "backward": "#5a7ec6",
    "reduce": "#e0789e",
    "exchange": "#762a60",
    "optimizer": "#1d6834",
}
"""Of phases: hatched those that only several devices have."""
COST_COLOURS = {"new_threads": "#c8b529", "slowed": "#0e96bb", "wrapper": "#ba8985"}
"""Of what is no phase. Colour-blind readers can tell apart what is in one chart, and from DP's and DDP's colours
(tests/analysis/page/test_colours.py)."""
THICKNESS = 0.62
"""Of a bar; 1 is the distance between two."""
EDGE = 2.0
"""Of ink on a bar: points of the page's colour around it, since ink and some bars are about equally bright."""

CHINESE = ("Noto Sans CJK TC", "Noto Sans TC", "Noto Sans CJK JP", "Noto Sans CJK SC", "Source Han Sans TC",
           "PingFang TC", "Heiti TC", "Microsoft JhengHei", "WenQuanYi Zen Hei", "Droid Sans Fallback")  # fmt: skip
"""Fonts that have the characters, the best first. Of a collection matplotlib knows the first font's name alone (JP)."""
FAMILIES = ["DejaVu Sans", *[name for name in CHINESE if name in font_manager.get_font_names()][:1]]
HAS_CHINESE_FONT = len(FAMILIES) > 1
"""Whether files of figures can show Chinese characters."""

mpl.rc("svg", fonttype="none")
mpl.rc("text", color=INK, parse_math=False)  # a model may be called $x$
mpl.rc("font", family=FAMILIES, size=9.5)
mpl.rc("axes", labelcolor=INK, edgecolor=MUTED, axisbelow=True)
mpl.rc("axes.spines", top=False, right=False)
mpl.rc(("xtick", "ytick"), color=MUTED, labelcolor=INK)
mpl.rc("hatch", linewidth=0.7)
mpl.rc("legend", frameon=False, fontsize=9.5)


@dataclass
class Plot:
    """A figure with the words that belong to it; SVG and PNG come of it once, for page and files."""

    name: str
    title: str
    caption: str
    figure: Figure
    alt: str = ""
    """What it shows as text: names and numbers."""
    svg: str = ""
    """A file of its own, with light colours on white."""
    png: bytes | None = None
    """200 dpi; None where nobody asked for it."""

    def draw(self, name: str, with_png: bool) -> None:
        """Make SVG and, if wanted, PNG; a `name` that is unique on the page keeps its ids apart from others'."""
        with mpl.rc_context({"svg.hashsalt": name}), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing")  # step 05 says it once
            # Each canvas draws once. `Figure.savefig` would draw twice for each file, and lay out anew each time.
            self.figure.get_layout_engine().execute(self.figure)
            self.figure.set_layout_engine("none")
            text = io.StringIO()
            FigureCanvasSVG(self.figure).print_svg(text, metadata={"Date": None, "Creator": None})
            if with_png:
                buffer = io.BytesIO()
                self.figure.set_dpi(200)
                # The least compression: at most twice the size, in a tenth of the time.
                FigureCanvasAgg(self.figure).print_png(buffer, pil_kwargs={"compress_level": 1})
                self.png = buffer.getvalue()
        svg = text.getvalue()
        svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
        self.svg = re.sub(r'<g id="[^"]*">', "<g>", svg)  # figure_1, axes_1, …: the same in every figure


def chart(
    x_label: str, y_label: str, grid: Literal["x", "y", "both"] = "y", height: float = 5.5
) -> tuple[Figure, Axes]:
    """Axes with their two labels; as tall as `height` bars. 4.2 in wide: the text is 10 px high on a phone."""
    figure = Figure(figsize=(4.2, 0.75 + 0.42 * max(1.4, height)), layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(axis=grid, color=MUTED, linewidth=0.6, alpha=0.5)
    return figure, axes


def bar_chart(names: Sequence[str], unit: str, height: float, right: float | None = None) -> tuple[Figure, Axes]:
    """Axes for one horizontal bar a name, from top to bottom.

    The axis below counts `unit` from 0 to `right`; without `right`, it shows what is drawn.
    """
    figure, axes = chart(unit, "", "x", height)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    if right is not None:
        axes.set_xlim(0, right)
    return figure, axes


def draw_bars(
    axes: Axes, estimates: Sequence[Estimate], looks: Iterable[dict], runs: Sequence[Sequence[float]] = ()
) -> None:
    """A bar for each estimate, with its interval and a dot for each of its runs."""
    for height, (estimate, look) in enumerate(zip(estimates, looks, strict=True)):
        axes.barh(height, estimate.value, THICKNESS, **look)
    draw_intervals(axes, dict(enumerate(estimates)), CARD, edge=EDGE)
    draw_intervals(axes, dict(enumerate(estimates)), INK)
    dots = [(value, height + 0.22 * (place % 3 - 1))
            for height, values in enumerate(runs) for place, value in enumerate(values)]  # fmt: skip
    if dots:  # above the intervals, which would hide those at their height
        axes.plot(*zip(*dots, strict=True), "o", markersize=3.5, markerfacecolor="none", markeredgecolor=INK, zorder=3,
                  markeredgewidth=0.9, path_effects=[withStroke(linewidth=0.9 + EDGE, foreground=CARD)])  # fmt: skip


def draw_intervals(axes: Axes, points: Points, colour: str, along: Literal["x", "y"] = "x", edge: float = 0.0) -> None:
    """An error bar `along` an axis for each estimate that has an interval; thicker by `edge`."""
    known = {place: estimate for place, estimate in points.items() if estimate.interval}
    if known:
        reach = zip(*((one.value - one.bounds[0], one.bounds[1] - one.value) for one in known.values()), strict=True)
        other = "y" if along == "x" else "x"
        data: dict[str, Any] = {
            along: [one.value for one in known.values()], f"{along}err": list(reach), other: list(known)}  # fmt: skip
        axes.errorbar(**data, fmt="none", ecolor=colour, capsize=4 + edge / 2, elinewidth=1.4 + edge,
                      capthick=1 + edge)  # fmt: skip


def draw_stack(
    axes: Axes, parts: Mapping[Any, Sequence[float]], look_of: Callable[[Any], dict], thickness: float = THICKNESS
) -> list[float]:
    """Parts one after another, each with one length a bar; returns where the bars end."""
    ends = [0.0] * max(map(len, parts.values()))
    for name, lengths in parts.items():
        if any(lengths):
            axes.barh(range(len(ends)), lengths, thickness, left=ends, **look_of(name))
        ends = [end + length for end, length in zip(ends, lengths, strict=True)]
    return ends


def draw_line(axes: Axes, points: Points, method: Method, label: str, **look) -> None:
    """A method's points with their intervals. The line is broken where a point's value is not a number."""
    colour, values = METHODS[method].colour, [point.value for point in points.values()]
    axes.plot(list(points), values, color=colour, marker=METHODS[method].marker, markersize=5, linewidth=1.6,
              label=label, **look)  # fmt: skip
    draw_intervals(axes, points, colour, along="y")


def draw_mark(axes: Axes, value: float, height: float, line: str = "-") -> None:
    """A line across a bar."""
    axes.plot([value] * 2, [height - 0.42, height + 0.42], line, color=INK, linewidth=1.2)


def label_end(axes: Axes, end: float, height: float, text: str, **look) -> None:
    """A text beside the end of a bar."""
    axes.annotate(text, (end, height), (4, 0), textcoords="offset points", va="center", color=INK, **look)


def hatched(colour: str, is_hatched: bool) -> dict:
    """How a part looks: hatched where it is what only several devices have."""
    return {"facecolor": colour, "hatch": "////" if is_hatched else None, "edgecolor": CARD, "linewidth": 0.6}


def flagged(words: Sentences, row: Row, name: str | None = None, in_line: bool = False) -> str:
    """A name that says what the row's devices really were, since a figure may travel without its page; under it, or
    for a legend in its line."""
    name = name or words.text(row.name)
    flags = [words.translate(f"flag.{flag}") for flag in row.record.world.flags]
    if in_line and flags:
        return words.translate("figure.flagged", name=name, flags=words.listed(flags))
    return "\n".join([name, *flags])


def titled(
    words: Sentences, name: str, figure: Figure, shown: Iterable[Iterable[str]], *notes: str, kind: str = "", **values
) -> Plot:
    """A plot with its title and caption. `shown`: its names and numbers, for those who do not see it; `notes`: what
    else the caption says; `kind`: where title and caption depend on the device."""
    ids = [name + kind, *notes, *(["intervals"] if has_intervals(figure) else [])]
    caption = words.paragraph(words.translate(f"caption.{id}", **values) for id in ids)
    alt = "; ".join(" ".join(texts) for texts in shown)
    return Plot(name, words.translate(f"figure_title.{name}{kind}"), caption, figure, alt)


def has_intervals(figure: Figure) -> bool:
    """Whether an error bar is drawn."""
    return any(isinstance(drawn, ErrorbarContainer) for axes in figure.axes for drawn in axes.containers)
