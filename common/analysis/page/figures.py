"""All figures of a judgement, each drawn once, and their files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from common.analysis.judging.judgement import GroupJudgement, Judgement
from common.analysis.page.answer_plot import draw_answer
from common.analysis.page.batches_plot import draw_batches
from common.analysis.page.drawing import Drawn, Plot, draw, write_drawn
from common.analysis.page.ledger_plot import draw_ledgers
from common.analysis.page.options_plot import draw_options
from common.analysis.page.plots import draw_all
from common.analysis.page.rungs_plot import draw_rungs
from common.analysis.page.why_plots import draw_all_reduce, draw_steps
from common.analysis.page.wording import Wording
from common.errors import UsageError


@dataclass
class GroupFigures:
    """The figures of one group."""

    ledger: Drawn | None = None
    steps: Drawn | None = None
    options: Drawn | None = None
    others: list[Drawn] = field(default_factory=list)


@dataclass
class Figures:
    """The figures of a page: by the number of their group, and the machine's."""

    groups: dict[int, GroupFigures]
    answer: Drawn | None = None
    all_reduce: Drawn | None = None
    batches: list[list[Drawn]] = field(default_factory=list)
    """Two for each series of batches."""
    ladder: Drawn | None = None

    def __iter__(self):
        yield from filter(None, [self.answer])
        for group in self.groups.values():
            yield from filter(None, [group.ledger, group.steps, *group.others, group.options])
        yield from filter(None, [self.all_reduce])
        yield from filter(None, [self.ladder])
        for of_series in self.batches:
            yield from of_series


def draw_figures(judgement: Judgement, words: Wording, with_png: bool) -> Figures:
    """Draw every figure of the groups that are told in full."""
    groups = {part.number: _of_group(part, words, with_png) for part in judgement.groups if part.why}
    curve = judgement.parts and judgement.parts.all_reduce
    batches = [
        [draw(plot, f"batches{number}", with_png) for plot in draw_batches(found, words)]
        for number, found in enumerate(judgement.across.batches, start=1)
    ]
    answer = _drawn(draw_answer(judgement.answer, words), "group1", with_png)
    all_reduce = _drawn(draw_all_reduce(curve, words) if curve else None, "machine", with_png)
    climb = judgement.across.climb
    ladder = _drawn(draw_rungs(climb, words) if climb else None, "all", with_png)
    return Figures(groups, answer, all_reduce, batches, ladder)


def _of_group(part: GroupJudgement, words: Wording, with_png: bool) -> GroupFigures:
    place = f"group{part.number}"
    return GroupFigures(
        _drawn(draw_ledgers(part.why.ledgers, words), place, with_png),
        _drawn(draw_steps(part.group, words), place, with_png),
        _drawn(draw_options(part.effects, words), place, with_png),
        [draw(plot, place, with_png) for plot in draw_all(part.group, words)],
    )


def _drawn(plot: Plot | None, place: str, with_png: bool) -> Drawn | None:
    return draw(plot, place, with_png) if plot else None


def write_figures(folder: Path, figures: Figures) -> int:
    """Write all figures into `folder` as SVG and PNG, and take out those of earlier pages; returns their number.

    UsageError where that fails.
    """
    drawn = list(figures)
    names = {figure.name for figure in drawn}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for figure in drawn:
            write_drawn(figure, folder)
        for path in folder.iterdir():
            ours = path.stem.startswith(("group", "machine_", "batches", "all_")) and path.suffix in (".svg", ".png")
            if ours and path.stem not in names:
                path.unlink()
    except OSError as error:
        raise UsageError(
            f"cannot write plots to {folder} ({error.strerror}): make room or correct its permissions"
        ) from None
    return len(drawn)
