"""All figures of a judgement, each drawn once, and their files."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from common.analysis.page.answer_plot import draw_answer
from common.analysis.page.batches_plot import draw_batches
from common.analysis.page.drawing import Plot, draw, write_plot
from common.analysis.page.ledger_plot import draw_ledgers
from common.analysis.page.options_plot import draw_options
from common.analysis.page.plots import draw_all
from common.analysis.page.rungs_plot import draw_rungs
from common.analysis.page.second_drawer import SecondDrawer
from common.analysis.page.why_plots import draw_all_reduce, draw_steps
from common.analysis.page.wording import Wording
from common.analysis.sections.group import GroupResults
from common.analysis.sections.judgement import Judgement
from common.errors import UsageError

OWN_FILE = re.compile(r"(group\d+|batches\d+|machine|all)_[a-z_]+\.(svg|png)")
"""Names of the files that `write_figures` makes."""


@dataclass
class GroupFigures:
    """The figures of one group."""

    ledger: Plot | None = None
    steps: Plot | None = None
    options: Plot | None = None
    others: list[Plot] = field(default_factory=list)


@dataclass
class Figures:
    """The figures of a page: by the number of their group, and the machine's."""

    groups: dict[int, GroupFigures]
    answer: Plot | None = None
    all_reduce: Plot | None = None
    batches: list[list[Plot]] = field(default_factory=list)
    """Two for each series of batches."""
    ladder: Plot | None = None

    def __iter__(self):
        yield from filter(None, [self.answer])
        for group in self.groups.values():
            yield from filter(None, [group.ledger, group.steps, *group.others, group.options])
        yield from filter(None, [self.all_reduce])
        yield from filter(None, [self.ladder])
        for of_series in self.batches:
            yield from of_series


def draw_figures(judgement: Judgement, words: Wording, with_png: bool, second: SecondDrawer | None = None) -> Figures:
    """Draw every figure of the groups that are told in full; `second` helps."""
    with _Drawing(with_png, second) as drawing:
        probed, ladder = judgement.folder.probed, judgement.ladder
        curve = probed[-1].probes.all_reduce if probed else None
        return Figures(
            groups={part.number: _of_group(part, words, drawing) for part in judgement.groups if part.is_in_full},
            answer=drawing.of(draw_answer(judgement.answer, words), "group1"),
            all_reduce=drawing.of(draw_all_reduce(curve, words) if curve else None, "machine"),
            batches=[
                [drawing.of(plot, f"batches{number}") for plot in draw_batches(found, words)]
                for number, found in enumerate(judgement.crossovers, start=1)
            ],
            ladder=drawing.of(draw_rungs(ladder, words) if ladder else None, "all"),
        )


def _of_group(part: GroupResults, words: Wording, drawing: _Drawing) -> GroupFigures:
    place = f"group{part.number}"
    return GroupFigures(
        drawing.of(draw_ledgers(part.breakdowns, words), place),
        drawing.of(draw_steps(part.group, words), place),
        drawing.of(draw_options(part.effects, words), place),
        [drawing.of(plot, place) for plot in draw_all(part.group, words)],
    )


class _Drawing:
    """Takes plots as they are made; all are drawn when the block ends. The second process begins while it lasts."""

    def __init__(self, with_png: bool, second: SecondDrawer | None) -> None:
        self._with_png, self._second = with_png, second
        self._waiting: list[Plot] = []
        self._there: Plot | None = None
        """What the second process is at."""

    def __enter__(self) -> _Drawing:
        return self

    def of(self, plot: Plot | None, place: str) -> Plot | None:
        """The plot under its name on the page; not yet drawn."""
        if plot:
            plot.name = f"{place}_{plot.name}"
            self._waiting.append(plot)
            self._hand_over()
        return plot

    def __exit__(self, kind: type | None, *error: object) -> None:
        try:
            while self._waiting and not kind:
                self._draw(self._waiting.pop(0))
                self._hand_over()
        finally:  # after a mistake too, or its drawing would be taken for that of the next order
            self._fetch()

    def _draw(self, plot: Plot) -> None:
        plot.svg, plot.png = draw(plot.figure, plot.name, self._with_png)

    def _hand_over(self) -> None:
        if self._second and self._waiting and not (self._there and not self._second.is_done):
            self._fetch()
            self._there = self._waiting.pop(0)
            self._second.order(self._there.figure, self._there.name, self._with_png)

    def _fetch(self) -> None:
        plot, self._there = self._there, None
        if plot:
            drawn = self._second.collect()
            plot.svg, plot.png = drawn or draw(plot.figure, plot.name, self._with_png)


def write_figures(folder: Path, figures: Figures) -> int:
    """Write all figures into `folder` as SVG and PNG, and take out those of earlier pages; returns their number.

    UsageError where that fails.
    """
    drawn = list(figures)
    names = {figure.name for figure in drawn}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for figure in drawn:
            write_plot(figure, folder)
        for path in folder.iterdir():
            if OWN_FILE.fullmatch(path.name) and path.stem not in names:
                path.unlink()
    except OSError as error:
        raise UsageError(
            f"cannot write plots to {folder} ({error.strerror}): make room or correct its permissions"
        ) from None
    return len(drawn)
