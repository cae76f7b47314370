"""Figure of what DDP's options do: one ratio with its interval for each row that is not the default."""

from __future__ import annotations

import matplotlib as mpl

from common.analysis.judging.options_effect import Effect
from common.analysis.page.drawing import INK, MUTED, STYLE, Plot, new_figure
from common.analysis.page.plots import MAX_BARS, flagged, reach, titled
from common.analysis.page.wording import Wording
from common.formats import FORMS
from common.records import METHODS


def draw_options(effects: list[Effect], words: Wording) -> Plot | None:
    """Throughput over that of the default options; a line at 1, where an option does nothing."""
    found = [effect for effect in effects if effect.quotient][:MAX_BARS]
    if not found:
        return None
    several = len({effect.row.default_options_row for effect in found}) > 1
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(len(found))
        axes.axvline(1, color=INK, linewidth=1)
        ratios = [effect.quotient for effect in found]
        axes.errorbar([ratio.value for ratio in ratios], range(len(ratios)), xerr=reach(ratios), fmt="o",
                      color=METHODS["ddp"].colour, markersize=5, capsize=4, elinewidth=1.6)  # fmt: skip
        names = [None if several else effect.row.name.options for effect in found]
        labels = [flagged(words, effect.row, "\n", name) for name, effect in zip(names, found, strict=True)]
        axes.set_yticks(range(len(labels)), [label.replace(" --", "\n--") for label in labels])
        axes.set_ylim(len(labels) - 0.4, -0.6)
        axes.set_xlabel(words.say("figure.times_defaults"))
        axes.grid(axis="x", color=MUTED, linewidth=0.6, alpha=0.5)
    alt = "; ".join(f"{label} {FORMS['×'](effect.quotient.value)}" for label, effect in zip(labels, found, strict=True))
    return titled("options", figure, words, alt=alt)
