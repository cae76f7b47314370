"""A method that is added to the table of methods goes through record, comparison, page and tables by its row alone."""

from __future__ import annotations

import csv
import json

import pytest
from conftest import ROOT

from common.analysis.judging.proposals import wrapper_commands
from common.analysis.page.rendering import draw_figures, on_page, render_page
from common.analysis.reading.folder import read_folder
from common.analysis.sections.comparison import group_table, in_brief
from common.analysis.sections.report import build_report
from common.command_line.commands import next_command
from common.records import METHODS, Record, TrainingMethod
from common.sentences import LANGUAGES, Sentences, sentences

LAB = ROOT / "results" / "examples" / "h100x2-lab"
NAME = "dp_planted"
KEPT = TrainingMethod(NAME, "03", "03_dataparallel_training.py", "#009e73", "#4fd1a8", "D", "DP kept",
                      "DataParallel with kept threads", flags="--keep-threads", devices_flag="--gpus")  # fmt: skip


@pytest.fixture
def planted():
    """The table with a fourth row, between DP and DDP."""
    usual = dict(METHODS)
    _replace({name: usual.get(name, KEPT) for name in ("single", "dp", NAME, "ddp")})
    yield
    _replace(usual)


def _replace(rows):
    METHODS.clear()
    METHODS.update(rows)
    sentences.cache_clear()


@pytest.fixture
def records(tmp_path, planted):
    """The lab's own records, and each of DP's once more, a little quicker, by the fourth method."""
    for path in LAB.glob("*.json"):
        known = json.loads(path.read_text())
        (tmp_path / path.name).write_text(json.dumps(known))
        if known.get("method") == "dp":
            known |= {"method": NAME, "run_id": f"{known['run_id']}-kept"}
            for rank in known["ranks"]:
                for times in ("step_seconds", "host_epoch_seconds"):
                    rank[times] = [0.9 * seconds for seconds in rank[times]]
            (tmp_path / f"{known['run_id']}.json").write_text(json.dumps(known))
    return tmp_path


def test_an_unknown_method_is_refused_by_its_name():
    known = json.loads(next(LAB.glob("03_dp*.json")).read_text())
    with pytest.raises(ValueError, match="'dp_planted' is none of single, dp, dp_kept_threads, ddp"):
        Record.model_validate(known | {"method": NAME})


def test_page_and_tables_have_the_fourth_method(records):
    folder, words = read_folder(records), Sentences("en")
    assert folder.skipped == []
    report = build_report(folder)
    figures = draw_figures(report, words, with_png=False)
    page = render_page(report, figures, words)
    headline = words.text(report.headline.outcome)
    assert "DP kept" in headline
    details = words.lines([*report.headline.pairs, *report.headline.details])
    assert any("DP kept × 2" in line and line.startswith("DDP × 2 is") for line in details)
    assert any("DP × 2" in line and line.startswith("DP kept × 2 is") for line in details)
    table = [words.text(line.cells[0].value) for line in in_brief(group_table(report.groups[0].group)).lines]
    assert table == ["One device", "DP × 2", "DP kept × 2", "DDP × 2"]
    assert "DP kept" in figures["group1_scaling"].svg
    assert KEPT.colour in figures["group1_scaling"].svg
    assert f"var(--{NAME})" in on_page(figures["group1_answer"])
    assert f"--{NAME}: {KEPT.colour};" in page
    assert f"--{NAME}: {KEPT.dark_colour};" in page
    assert f'class="dot {NAME}"' in page
    assert f".dot.{NAME} {{ background: var(--{NAME}); clip-path" in page
    rows = list(csv.DictReader(report.csv_tables["comparison.csv"].to_csv().splitlines()))
    (row,) = [row for row in rows if row["method"] == NAME]
    (dp,) = [row for row in rows if row["method"] == "dp"]
    assert (row["row"], row["runs"], row["devices"]) == ("dp_planted x2", dp["runs"], "2")
    assert float(row["speed_up"]) == pytest.approx(float(dp["speed_up"]) / 0.9, rel=1e-3)
    assert float(row["peak_memory_first_bytes"]) > float(row["peak_memory_others_mean_bytes"])  # as of replicas


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_its_name(records, language):
    folder = read_folder(records)
    page = render_page(build_report(folder), {}, Sentences(language))
    assert "DP kept" in page
    assert "DataParallel with kept threads" in page


def test_commands_name_its_flag(records, monkeypatch):
    report = build_report(read_folder(records))
    commands = " ".join(command for part in report.groups for command in wrapper_commands(part.group))
    assert "03_dataparallel_training.py" in commands
    assert "--gpus 0 --keep-threads" in commands
    monkeypatch.setattr("sys.argv", ["03_dataparallel_training.py", "--batch-size", "128", "--gpus", "0,1"])
    record = Record.model_validate_json(next(records.glob("03_*-kept.json")).read_text())
    assert next_command(record).startswith("torchrun --standalone --nproc_per_node=2 04_ddp_training.py")


def test_without_one_of_the_methods_the_others_are_still_compared(records):
    """A method that is in the table but was not run takes nothing from the page."""
    for path in records.glob("*-kept.json"):
        path.unlink()
    report = build_report(read_folder(records))
    assert any(line.startswith("DDP × 2 is") for line in Sentences("en").lines(report.headline.pairs))
