"""What step 05 says on a console of 80 characters."""

from __future__ import annotations

import io

import pytest
from conftest import ROOT
from rich.console import Console

from common.analysis.page.summary import print_summary, print_verdict
from common.analysis.reading.folder import read_folder
from common.analysis.sections.report import build_report
from common.sentences import LANGUAGES, Sentences


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("example", ["cpu", "h100x2"])
def test_one_table_that_is_never_cut_off(example, language):
    folder = read_folder(ROOT / "results" / "examples" / example)
    console, words = Console(width=80, file=io.StringIO()), Sentences(language)
    print_summary(console, build_report(folder), words)
    text = console.file.getvalue()
    table, rule, after = text.partition("─" * 40)
    assert rule
    assert "─" * 40 not in after.lstrip("─")
    assert "…" not in table + after.partition("•")[0]
    for needed in (words.translate("column.throughput"), words.translate("column.speed_up")):
        assert needed in text
    more = words.translate("console.one_more_group", count=1)
    assert (more in text) is (example == "h100x2")


@pytest.mark.parametrize(
    ("example", "verdict", "command"),
    [
        ("h100x2-lab", "Verdict: Use DDP: 1.9 × one GPU's speed", "make lab MODEL=my_model.py:build"),
        ("h200-new-threads", "Verdict: One GPU cannot compare DP and DDP", "make ladder MODEL=resnet50 BATCH=16"),
        (
            "cpu",
            "Verdict: DDP or emulated DP: no clear winner yet",
            "make lab MODEL=resnet18 BATCH=16 EPOCHS=4 REPEATS=10",
        ),
    ],
)
def test_the_last_lines_say_what_to_use_why_and_what_to_run_next(example, verdict, command):
    report = build_report(read_folder(ROOT / "results" / "examples" / example))
    console = Console(width=400, file=io.StringIO())
    print_verdict(console, report, Sentences("en"))
    first, why, following, last = console.file.getvalue().strip().splitlines()
    assert first == verdict
    assert why.startswith("Why: ")
    assert following.startswith("Next: ")
    assert last.strip() == command
    assert len(verdict.removeprefix("Verdict: ").replace(" ×", "").split()) <= 8
