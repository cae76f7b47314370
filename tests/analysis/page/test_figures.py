"""Figures are drawn once, and the folder of plots holds those of the present page and no others."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import RendererAgg

from analysis.anatomy_factories import anatomy_lab, make_probed
from analysis.factories import make_record, typical_lab, write
from analysis.views import WORDS
from common.analysis.page import drawing, second_drawer
from common.analysis.page.figures import draw_figures, write_figures
from common.analysis.page.second_drawer import SecondDrawer
from common.analysis.page.wording import Wording
from common.analysis.reading.folder import read_folder
from common.analysis.sections.judgement import judge
from common.sentences import LANGUAGES

DRAW = "common.analysis.page.figures.draw"
EXAMPLES = Path(__file__).parents[3] / "results" / "examples"


def figures_of(folder, with_png=True):
    return draw_figures(judge(read_folder(folder)), WORDS, with_png)


def test_plots_of_groups_that_are_gone_are_taken_out(tmp_path):
    records = [*typical_lab(epochs=3), make_record(config={"model": "vgg11"}, epochs=3)]
    results, plots = write(tmp_path / "results", *records), tmp_path / "plots"
    assert write_figures(plots, figures_of(results)) == 6 + 4
    assert (plots / "group2_loss.png").exists()
    (plots / "mine.png").write_text("not the lab's")
    (plots / "group_photo.txt").write_text("not the lab's")
    (plots / "group_photo.png").write_text("not the lab's")
    for path in results.iterdir():
        if "vgg11" in path.read_text():
            path.unlink()
    assert write_figures(plots, figures_of(results)) == 6
    names = {path.name for path in plots.iterdir()}
    assert not any(name.startswith("group2_") for name in names)
    assert {"mine.png", "group_photo.txt", "group_photo.png", "group1_loss.svg"} <= names
    assert len(names) == 2 * 6 + 3


def test_each_figure_is_drawn_once_for_page_and_files(tmp_path, monkeypatch):
    drawn, usual = [], drawing.FigureCanvasSVG.print_svg
    monkeypatch.setattr(
        drawing.FigureCanvasSVG, "print_svg", lambda self, *a, **k: (drawn.append(1), usual(self, *a, **k))[1]
    )
    figures = list(figures_of(write(tmp_path, *anatomy_lab(), make_probed())))
    assert len(drawn) == len(figures) == 8
    for figure in figures:
        assert "var(--" in figure.on_page
        assert "var(--" not in figure.svg
        assert figure.png.startswith(b"\x89PNG")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("example", ["h100x2", "h100x2-ledger", "h100x2-crossover"])
def test_no_legend_is_cut_off(example, language, monkeypatch):
    if language == "zh-TW" and not drawing.has_chinese_font():
        pytest.skip("no font with Chinese characters: what stands in for one is wider")
    seen, cut_off = [], []

    def look(canvas, file, **kwargs):
        """Looks at a figure that has been laid out, and leaves out to draw it."""
        figure = canvas.figure
        renderer = RendererAgg(*figure.bbox.size, figure.dpi)
        for legend in filter(None, [*figure.legends, *(axes.get_legend() for axes in figure.axes)]):
            seen.append(legend)
            box = legend.get_window_extent(renderer)
            if box.x0 < 0 or box.x1 > figure.bbox.x1:
                cut_off.append([text.get_text() for text in legend.get_texts()])
        file.write("<svg/>")

    monkeypatch.setattr(drawing.FigureCanvasSVG, "print_svg", look)
    assert list(draw_figures(judge(read_folder(EXAMPLES / example)), Wording(language), with_png=False))
    assert len(seen) > 2
    assert cut_off == []


def test_without_plots_no_png_is_made(tmp_path):
    assert all(figure.png is None for figure in figures_of(write(tmp_path, *typical_lab()), with_png=False))


def test_a_svg_file_needs_no_page(tmp_path):
    write_figures(tmp_path / "plots", figures_of(write(tmp_path / "results", *typical_lab())))
    for name in ("group1_throughput", "group1_memory"):
        text = (tmp_path / "plots" / f"{name}.svg").read_text()
        assert text.startswith("<svg")
        assert "DejaVu Sans" in text


@pytest.fixture
def second(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1}, raising=False)
    # As on macOS and Windows; and pytest's workers have threads, beside which no process should be forked.
    monkeypatch.setattr(second_drawer, "Process", multiprocessing.get_context("spawn").Process)
    drawer = SecondDrawer.start()
    yield drawer
    drawer.process.kill()
    drawer.process.join()


def test_a_second_process_draws_some_of_the_figures_and_draws_the_same(second, tmp_path, monkeypatch):
    judgement = judge(read_folder(write(tmp_path, *typical_lab())))
    alone = list(draw_figures(judgement, WORDS, with_png=True))
    here, usual = [], drawing.draw
    monkeypatch.setattr(DRAW, lambda *order: (here.append(order[1]), usual(*order))[1])
    for _ in range(2):  # each language asks it anew
        together = list(draw_figures(judgement, WORDS, with_png=True, second=second))
        assert [(plot.name, plot.svg, plot.png) for plot in together] == [
            (plot.name, plot.svg, plot.png) for plot in alone
        ]
    assert len(here) < 2 * len(alone)


HANGS_BEFORE = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
os.sched_getaffinity = lambda process: {0, 1}
from common.analysis.page import second_drawer
if __name__ == "__main__":
    second_drawer.PATIENCE_SECONDS = 0.5
    drawer = second_drawer.SecondDrawer.start()
    os.kill(drawer.process.pid, signal.SIGSTOP)
    if sys.argv[2] == "asked":
        drawer.order("x" * 10**7, "more than a pipe holds", False)
        print(drawer.collect())
"""


@pytest.mark.parametrize("how", ["asked", "idle"])
def test_a_second_process_that_is_stopped_keeps_no_program_from_its_end(tmp_path, how):
    """Neither with an order that it does not take, nor at the end, where Python waits for its children."""
    (tmp_path / "program.py").write_text(HANGS_BEFORE)
    command = [sys.executable, str(tmp_path / "program.py"), str(EXAMPLES.parents[1]), how]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, "None" if how == "asked" else ""), done.stderr


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP])
def test_where_the_second_process_is_gone_or_stopped_all_figures_are_drawn_here(second, end, tmp_path, monkeypatch):
    monkeypatch.setattr(second_drawer, "PATIENCE_SECONDS", 0.5)
    os.kill(second.process.pid, end)
    figures = list(
        draw_figures(judge(read_folder(write(tmp_path, *typical_lab()))), WORDS, with_png=False, second=second)
    )
    assert all(plot.svg.startswith("<svg") for plot in figures)


def test_after_a_mistake_here_the_drawing_of_the_second_process_is_not_taken_for_the_next(
    second, tmp_path, monkeypatch
):
    judgement, usual = judge(read_folder(write(tmp_path, *typical_lab()))), drawing.draw
    alone = list(draw_figures(judgement, WORDS, with_png=False))
    monkeypatch.setattr(DRAW, lambda *order: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        draw_figures(judgement, Wording("zh-TW"), with_png=False, second=second)
    monkeypatch.setattr(DRAW, usual)
    again = draw_figures(judgement, WORDS, with_png=False, second=second)
    assert [plot.svg for plot in again] == [plot.svg for plot in alone]


def test_on_one_core_there_is_no_second_process(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0}, raising=False)
    assert SecondDrawer.start() is None
