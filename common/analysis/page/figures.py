"""All figures of a report, each drawn once, and their files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from common.analysis.page.answer_plots import draw_answer, draw_scaling, draw_summary
from common.analysis.page.comparison_plots import (
    draw_batches,
    draw_ladder,
    draw_loss,
    draw_memory,
    draw_options,
    draw_throughput,
)
from common.analysis.page.drawing import Plot
from common.analysis.page.step_plots import draw_all_reduce, draw_breakdowns, draw_steps
from common.analysis.page.wording import Wording
from common.analysis.sections.report import Report
from common.errors import UsageError
from common.records.disk import write_bytes

OF_GROUPS = (draw_throughput, draw_memory, draw_loss)
"""The page folds these away."""
OWN_FILE = re.compile(r"((group\d+|batches\d+|machine|all)_[a-z_]+|summary)\.(svg|png)")
"""Names of the files that `write_figures` makes."""


def draw_figures(report: Report, words: Wording, with_png: bool) -> dict[str, Plot]:
    """Every figure of what is told in full, by its name on the page, which is its file's, too: `group1_steps`."""
    plots: dict[str, list[Plot | None]] = {"group1": [draw_answer(report, words)]}
    for part in report.groups:
        if part.is_in_full:
            plots.setdefault(f"group{part.number}", []).extend([
                draw_breakdowns(part.breakdowns, words),
                draw_steps(part.group, words),
                draw_scaling(part, words),
                *(draw_one(part.group, words) for draw_one in OF_GROUPS),
                draw_options(part.effects, words),
            ])  # fmt: skip
    probed = report.folder.probed
    plots["machine"] = [draw_all_reduce(probed[-1].probes.all_reduce if probed else None, words)]
    plots["all"] = [draw_ladder(report.ladder, words)]
    for number, crossover in enumerate(report.crossovers, start=1):
        plots[f"batches{number}"] = draw_batches(crossover, words)
    figures = {f"{place}_{plot.name}": plot for place, of_place in plots.items() for plot in of_place if plot}
    if with_png and (summary := draw_summary(report, words)):
        figures[summary.name] = summary
    for name, plot in figures.items():
        plot.draw(name, with_png)
    return figures


def write_figures(folder: Path, figures: Mapping[str, Plot]) -> int:
    """Write all figures into `folder` as SVG and PNG, and take out those of earlier pages; returns their number.

    UsageError where that fails.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, plot in figures.items():
            write_bytes(folder / f"{name}.svg", plot.svg.encode())
            write_bytes(folder / f"{name}.png", plot.png)
        for path in folder.iterdir():
            if OWN_FILE.fullmatch(path.name) and path.stem not in figures:
                path.unlink()
    except OSError as error:
        raise UsageError(
            f"cannot write plots to {folder} ({error.strerror}): make room or correct its permissions"
        ) from None
    return len(figures)
