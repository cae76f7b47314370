"""Figures are drawn once, and the folder of plots holds those of the present page and no others."""

from __future__ import annotations

import struct
from itertools import pairwise
from math import isnan
from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.colors import to_hex, to_rgba
from matplotlib.container import ErrorbarContainer

from analysis.factories import make_record, typical_lab, write
from analysis.profile_factories import make_probed, profiled_lab
from analysis.views import WORDS, folder_of, groups_of
from common.analysis.page import charts
from common.analysis.page.method_plots import draw_answer, draw_loss, draw_scaling
from common.analysis.page.reason_plots import draw_breakdowns
from common.analysis.page.rendering import draw_figures, on_page, write_figures
from common.analysis.page.wording import Wording
from common.analysis.predicting.inputs import Question
from common.analysis.reading.folder import read_folder
from common.analysis.sections.group import group_results
from common.analysis.sections.report import build_report
from common.records import METHODS, DdpOptions, Failure
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
    drawn, usual = [], charts.FigureCanvasSVG.print_svg
    monkeypatch.setattr(
        charts.FigureCanvasSVG, "print_svg", lambda self, *a, **k: (drawn.append(1), usual(self, *a, **k))[1]
    )
    figures = figures_of(write(tmp_path, *profiled_lab(), make_probed())).values()
    assert len(drawn) == len(figures) == 8
    for figure in figures:
        assert "var(--" in on_page(figure)
        assert "var(--" not in figure.svg
        assert figure.png.startswith(b"\x89PNG")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("example", ["h100x2", "h100x2-ledger", "h100x2-crossover"])
def test_no_legend_is_cut_off(example, language, monkeypatch):
    if language == "zh-TW" and not charts.HAS_CHINESE_FONT:
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

    monkeypatch.setattr(charts.FigureCanvasSVG, "print_svg", look)
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


def test_the_picture_for_a_chat_has_the_size_of_a_preview_and_says_the_verdict(tmp_path):
    report = build_report(read_folder(EXAMPLES / "h200x4"))
    summary = draw_figures(report, WORDS, with_png=True)["summary"]
    width, height = struct.unpack(">II", summary.png[16:24])
    assert (width, height) == (1200, 630)
    for text in ("Use DDP: 3.9 × one GPU's speed", "Training resnet50 on 4 × H200", "3.89 × (3.86–3.92)", "2026-11-26"):
        assert text in summary.svg, text
    assert "summary" not in draw_figures(build_report(read_folder(EXAMPLES / "h100-ladder")), WORDS, with_png=True)


def bars_of(plot):
    """Each bar's pieces as (left, width), from top to bottom."""
    pieces: dict[float, list[tuple[float, float]]] = {}
    for patch in plot.figure.axes[0].patches:
        pieces.setdefault(round(patch.get_y() + patch.get_height() / 2), []).append((patch.get_x(), patch.get_width()))
    return [pieces[height] for height in sorted(pieces)]


@pytest.mark.parametrize("example", ["h200x4", "h200x2-batch256", "h100x2-lab", "cpu"])
def test_pieces_of_a_step_end_at_the_measured_step(example):
    parts = build_report(read_folder(EXAMPLES / example)).groups[0].breakdowns
    samples = parts[0].row.record.config.global_batch_size
    plot = draw_breakdowns(parts, WORDS)
    for one, pieces in zip(parts, bars_of(plot)[1:], strict=True):
        measured = 1000 * one.measured.value * samples / one.row.record.config.global_batch_size
        assert max(left + width for left, width in pieces) == pytest.approx(measured, rel=0.01)
    assert ("thin pieces" in plot.caption) is any(text.get_text()[:1] == "+" for text in plot.figure.axes[0].texts)
    exceeds = any(cost.value < 0 for one in parts for cost in one.items.values())
    assert ("scaled to fit" in plot.caption) is exceeds


def test_pieces_too_thin_for_their_numbers_have_them_beside_the_bar():
    plot = draw_breakdowns(build_report(read_folder(EXAMPLES / "h100x2-lab")).groups[0].breakdowns, WORDS)
    texts = [text.get_text() for text in plot.figure.axes[0].texts]
    assert [text for text in texts if text.startswith("+")] == ["+1.03 +7.18", "+1.33 +0.755"]
    assert {"38.4", "61.7", "14.8"} <= set(texts)


def test_scaling_shows_ideal_measured_and_predicted():
    report = build_report(read_folder(EXAMPLES / "h200x4"))
    plot = draw_scaling(report.groups[0], WORDS)
    axes = plot.figure.axes[0]
    assert list(axes.get_xticks()) == [1, 2, 4, 8]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "DDP, predicted", "DP, predicted", "ideal", "DP", "DDP"]  # fmt: skip
    assert "DDP × 8, predicted 7.87 ×" in plot.alt
    outlines = [tuple(map(tuple, band.get_edgecolor())) for band in axes.collections if band.get_label()[0] != "_"]
    assert outlines == [(to_rgba(METHODS[method].colour),) for method in ("ddp", "dp")]  # at least 3 : 1 on the card


def test_an_interval_on_a_bar_has_an_edge_in_the_colour_of_the_card():
    """In the dark scheme ink and the methods' colours are about equally bright."""
    plot = draw_answer(build_report(read_folder(EXAMPLES / "h200x4")), WORDS)
    under, over = [bars for bars in plot.figure.axes[0].containers if isinstance(bars, ErrorbarContainer)]
    (edge,), (line,) = under.lines[2], over.lines[2]
    assert (to_hex(edge.get_color()[0]), to_hex(line.get_color()[0])) == (charts.CARD, charts.INK)
    assert edge.get_linewidth()[0] > line.get_linewidth()[0] + 1


def scaling_of(*counts):
    """DDP's line in the figure of these counts of devices beside one: its segments' ends, in devices."""
    records = [make_record(kind="cuda"), *(make_record("ddp", count, kind="cuda") for count in counts)]
    (group,) = groups_of(*records)
    axes = draw_scaling(group_results(1, group, False, Question()), WORDS).figure.axes[0]
    (line,) = [line for line in axes.get_lines() if line.get_label() == "DDP"]
    points = list(zip(line.get_xdata(), line.get_ydata(), strict=True))
    joined = [] if line.get_linestyle() == "None" else list(pairwise(points))
    return [(round(one[0]), round(other[0])) for one, other in joined if not isnan(one[1] + other[1])]


@pytest.mark.parametrize(
    ("counts", "joined"),
    [((2,), [(1, 2)]), ((4,), []), ((2, 4, 8), [(1, 2), (2, 4), (4, 8)]), ((2, 8), [(1, 2)]), ((4, 8), [(4, 8)])],
)
def test_no_line_runs_over_counts_that_were_not_measured(counts, joined):
    assert scaling_of(*counts) == joined


def answer_labels(*records):
    """The labels of the first figure, and its caption."""
    report = build_report(folder_of(*records))
    plot = draw_answer(report, WORDS)
    return [text.get_text() for text in plot.figure.axes[0].get_yticklabels()], plot.caption


def test_a_method_that_failed_has_a_label_and_no_bar():
    failed = make_record("dp", 2, status="failed", failure=Failure(kind="exception", message="no", advice="", rank=0))
    labels, _ = answer_labels(make_record(), make_record("ddp", 2), failed)
    assert [label.splitlines()[0] for label in labels] == ["One CPU core", "DDP × 2", "DP × 2: failed"]


def test_a_caption_says_only_what_is_drawn():
    rounds = [record for _ in range(3) for record in (make_record(), make_record("ddp", 2, 0.6))]
    assert answer_labels(*rounds)[1] == "Bars: speed. Dots: single runs. Dashed: the ideal. Error bars: 95 % intervals."
    assert answer_labels(*rounds[:2])[1] == "Bars: speed. Dots: single runs. Dashed: the ideal."
    shared = make_record("ddp", 2, 0.6, world={"shared": True})
    assert answer_labels(make_record(), shared)[1] == (
        "Bars: speed. Dots: single runs. There is no ideal: the devices took turns.")  # fmt: skip
    one_device = (make_record(step_seconds=0.5, noise=0), make_record("ddp", 1, 0.50005, noise=0))
    assert answer_labels(*one_device) == (
        ["One CPU core\n1.00 ×", "DDP × 1\n1.00 ×"],
        "Bars: speed. Dots: single runs.",
    )


@pytest.mark.parametrize("has_buffers", [True, False])
@pytest.mark.parametrize("sync_bn", [False, True])
def test_where_dp_and_ddp_normalise_other_parts_of_a_batch_the_caption_says_so(has_buffers, sync_bn):
    ddp = make_record("ddp", 2, epochs=3, config={"ddp": DdpOptions(sync_bn=sync_bn)})
    ddp.static_memory.buffer_bytes *= has_buffers
    (group,) = groups_of(make_record("dp", 2, epochs=3), ddp)
    assert ("BatchNorm" in draw_loss(group, WORDS).caption) is (has_buffers and not sync_bn)
