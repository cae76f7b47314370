"""Figure of what DDP's options do: one ratio with its interval for each row that is not the default."""

from __future__ import annotations

import matplotlib as mpl

from common.analysis.comparing.groups import Group
from common.analysis.judging.options_effect import effects
from common.analysis.page.drawing import COLOURS, INK, MUTED, STYLE, new_figure
from common.analysis.page.plots import MOST_BARS, Plot, flagged


def options(group: Group) -> Plot | None:
    """Throughput over that of the default options; a line at 1, where an option does nothing."""
    found = [effect for effect in effects(group) if effect.quotient][:MOST_BARS]
    if not found:
        return None
    several = len({effect.row.standard for effect in found}) > 1
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(len(found))
        axes.axvline(1, color=INK, linewidth=1)
        for height, effect in enumerate(found):
            value = effect.quotient.value
            low, high = effect.quotient.interval or (value, value)
            axes.errorbar(value, height, xerr=[[value - low], [high - value]], color=COLOURS["ddp"], marker="o",
                          markersize=5, capsize=4, linewidth=1.6)  # fmt: skip
        names = [effect.row.label if several else effect.row.variant for effect in found]
        labels = [flagged(name, effect.row, "\n") for name, effect in zip(names, found, strict=True)]
        axes.set_yticks(range(len(labels)), [label.replace(" --", "\n--") for label in labels])
        axes.set_ylim(len(labels) - 0.4, -0.6)
        axes.set_xlabel("times as fast as with the defaults")
        axes.grid(axis="x", color=MUTED, linewidth=0.6, alpha=0.5)
    caption = "Lines: 95 % interval. One that crosses 1 shows no effect."
    return Plot("options", "What DDP's options do", caption, figure)
