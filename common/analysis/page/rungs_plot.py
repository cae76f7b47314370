"""Figure of the ladder: a bar for each rung, with what it holds in memory."""

from __future__ import annotations

import matplotlib as mpl

from common.analysis.comparing.ladder_rungs import Ladder
from common.analysis.comparing.rows import Row
from common.analysis.page.drawing import CARD, INK, MUTED, STYLE, Plot, new_figure
from common.analysis.page.plots import name_bars, titled
from common.analysis.page.wording import Wording
from common.analysis.sections.ladder import outcome_of, what
from common.formats import gib
from common.records import METHODS


def draw_rungs(ladder: Ladder, words: Wording) -> Plot:
    """Throughput of each rung with its interval, memory beside it; a rung that was dropped is pale and hatched."""
    rungs = [(rung.row, words.text(what(rung)), outcome_of(rung)) for rung in ladder.rungs if rung.row]
    bars: list[tuple[Row, str, str]] = [(ladder.first, words.say("ladder.start"), "kept"), *rungs]
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(1.15 * len(bars))
        for height, (row, _, outcome) in enumerate(bars):
            colour, hatch = (METHODS["ddp"].colour, None) if outcome == "kept" else (CARD, "////")
            axes.barh(height, row.throughput.value, 0.62, color=colour, hatch=hatch, edgecolor=METHODS["ddp"].colour)
            axes.plot(row.throughput.bounds, [height, height], color=INK, linewidth=1.4)
            memory = gib(row.memory[0].peak_bytes) if row.memory else ""
            axes.annotate(
                memory, (row.throughput.bounds[1], height), xytext=(4, 0), textcoords="offset points", va="center"
            )
        labels = [name if outcome == "kept" else f"{name}\n{words.say(f'rung.{outcome}')}" for _, name, outcome in bars]
        name_bars(axes, [label.replace(": ", ":\n", 1) for label in labels], words.say("figure.more_is_better"))
        axes.set_xlim(right=1.25 * max(row.throughput.value for row, *_ in bars))
        axes.grid(axis="x", color=MUTED, linewidth=0.6, alpha=0.5)
    alt = "; ".join(f"{name} {words.written('samples/s', row.throughput.value)}" for row, name, _ in bars)
    return titled("ladder", figure, words, alt=alt)
