"""The one figure of the answer: how fast each method trains compared with one device."""

from __future__ import annotations

import matplotlib as mpl

from common.analysis.comparing.rows import Row
from common.analysis.page.drawing import INK, MUTED, STYLE, Plot, new_figure
from common.analysis.page.plots import MAX_POINTS, draw_estimates, flagged, name_bars, said_of, titled
from common.analysis.page.wording import Wording
from common.analysis.sections.answer import Answer, name_here
from common.analysis.statistics.estimates import Estimate
from common.formats import FORMS


def draw_answer(answer: Answer | None, words: Wording) -> Plot | None:
    """A bar for each row with its interval and its runs; a dashed mark where as many devices would ideally be."""
    rows = [row for row in answer.rows if row.speed_up or not row.is_parallel] if answer else []
    if not any(row.speed_up for row in rows):
        return None
    one = next(row for row in rows if row.speed_up).baseline
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(1.15 * len(rows) + 0.6)
        axes.axvline(1, color=MUTED, linewidth=1, zorder=0.5)
        speeds = [row.speed_up or Estimate(1.0) for row in rows]
        draw_estimates(axes, rows, speeds, [
            [one.seconds_per_sample.value / run.seconds_per_sample.value for run in row.runs[-MAX_POINTS:]]
            if row.speed_up else [] for row in rows
        ])  # fmt: skip
        marks = [(row.devices, height) for height, row in enumerate(rows) if row.speed_up and row.true_devices]
        for devices, height in marks:
            axes.plot([devices] * 2, [height - 0.42, height + 0.42], "--", color=INK, linewidth=1.2)
        most = max([*(mark for mark, _ in marks), *(speed.bounds[1] for speed in speeds)])
        unit = words.say("figure.times_one_gpu" if rows[0].on_gpu else "figure.times_one_core")
        # The number stands with the name, where no interval, dot or dashed mark crosses it.
        name_bars(
            axes, [flagged(words, row, "\n", words.text(name_here(row))) + "\n" + _times(row) for row in rows], unit
        )
        axes.set_xlim(0, 1.06 * most)
        if marks:
            axes.text(marks[0][0], marks[0][1] - 0.48, words.say("figure.ideal"), ha="center", va="bottom")
    caption = "answer" if marks else "answer_turns"
    return titled("answer", figure, words, caption=caption, alt=said_of(words, rows, _times))


def _times(row: Row) -> str:
    return FORMS["×"](row.speed_up.value if row.speed_up else 1.0)
