"""Figures are drawn once, and the folder of plots holds those of the present page and no others."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import RendererAgg

from analysis.factories import make_record, typical_lab, write
from analysis.profile_factories import make_probed, profiled_lab
from analysis.views import WORDS
from common.analysis.page import drawing
from common.analysis.page.figures import draw_figures, write_figures
from common.analysis.page.wording import Wording
from common.analysis.reading.folder import read_folder
from common.analysis.sections.report import build_report
from common.sentences import LANGUAGES

EXAMPLES = Path(__file__).parents[3] / "results" / "examples"


def figures_of(folder, with_png=True):
    return draw_figures(build_report(read_folder(folder)), WORDS, with_png)


def test_plots_of_groups_that_are_gone_are_taken_out(tmp_path):
    records = [*typical_lab(epochs=3), make_record(config={"model": "vgg11"}, epochs=3)]
    results, plots = write(tmp_path / "results", *records), tmp_path / "plots"
    assert write_figures(plots, figures_of(results)) == 6 + 3
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
    assert {"mine.png", "group_photo.txt", "group_photo.png", "group1_loss.svg", "summary.png"} <= names
    assert len(names) == 2 * 6 + 3


def test_each_figure_is_drawn_once_for_page_and_files(tmp_path, monkeypatch):
    drawn, usual = [], drawing.FigureCanvasSVG.print_svg
    monkeypatch.setattr(
        drawing.FigureCanvasSVG, "print_svg", lambda self, *a, **k: (drawn.append(1), usual(self, *a, **k))[1]
    )
    figures = figures_of(write(tmp_path, *profiled_lab(), make_probed())).values()
    assert len(drawn) == len(figures) == 8
    for figure in figures:
        assert "var(--" in figure.on_page
        assert "var(--" not in figure.svg
        assert figure.png.startswith(b"\x89PNG")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("example", ["h100x2", "h100x2-ledger", "h100x2-crossover"])
def test_no_legend_is_cut_off(example, language, monkeypatch):
    if language == "zh-TW" and not drawing.HAS_CHINESE_FONT:
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
    assert draw_figures(build_report(read_folder(EXAMPLES / example)), Wording(language), with_png=False)
    assert len(seen) > 2
    assert cut_off == []


def test_without_plots_no_png_is_made(tmp_path):
    assert all(figure.png is None for figure in figures_of(write(tmp_path, *typical_lab()), with_png=False).values())


def test_a_svg_file_needs_no_page(tmp_path):
    write_figures(tmp_path / "plots", figures_of(write(tmp_path / "results", *typical_lab())))
    for name in ("group1_throughput", "group1_memory"):
        text = (tmp_path / "plots" / f"{name}.svg").read_text()
        assert text.startswith("<svg")
        assert "DejaVu Sans" in text
