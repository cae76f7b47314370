"""How figures look, and how they become SVG for the page, SVG files and PNG files.

On the page a figure takes its colours from the style sheet (CSS variables), so that it reads in light and dark alike;
its text is real text in the page's font. Files carry the light colours on white.
"""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass
from html import escape

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from common.records import METHODS, PhaseName

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
CSS_NAMES = {
    INK: "ink",
    MUTED: "grid",
    CARD: "card",
    **{colour: f"phase-{name.replace(' ', '-')}" for name, colour in PHASE_COLOURS.items()},
    **{colour: f"cost-{name.replace('_', '-')}" for name, colour in COST_COLOURS.items()},
}

CHINESE = ("Noto Sans CJK TC", "Noto Sans TC", "Noto Sans CJK JP", "Noto Sans CJK SC", "Source Han Sans TC",
           "PingFang TC", "Heiti TC", "Microsoft JhengHei", "WenQuanYi Zen Hei", "Droid Sans Fallback")  # fmt: skip
"""Fonts that have the characters, the best first. Of a collection matplotlib knows the first font's name alone (JP)."""
FAMILIES = ["DejaVu Sans", *[name for name in CHINESE if name in font_manager.get_font_names()][:1]]
HAS_CHINESE_FONT = len(FAMILIES) > 1
"""Whether files of figures can show Chinese characters."""

mpl.rcParams.update({
    "svg.fonttype": "none",
    "text.parse_math": False,  # a model may be called $x$
    "font.family": FAMILIES,
    "font.size": 9.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "hatch.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
})  # fmt: skip


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

    @property
    def on_page(self) -> str:
        """The SVG for within the page: colours and font are the style sheet's."""
        svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", self.svg, count=1)
        says = escape(f"{self.title}. {self.alt}".strip(), quote=True)
        svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', lambda match: f'{match[1]} role="img" aria-label="{says}"', svg,
                     count=1)  # fmt: skip
        svg = svg.replace("'DejaVu Sans'", "var(--font)")
        of_methods = {method.colour: method.name for method in METHODS.values()}
        for colour, css_name in (CSS_NAMES | of_methods).items():
            svg = svg.replace(colour, f"var(--{css_name})")
        return svg
