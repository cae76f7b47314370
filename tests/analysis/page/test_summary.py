"""What step 05 says on a console of 80 characters."""

from __future__ import annotations

import io

import pytest
from conftest import ROOT
from rich.console import Console

from common.analysis.page.summary import print_summary
from common.analysis.page.wording import Wording
from common.analysis.reading.folder import read_folder
from common.analysis.sections.judgement import judge
from common.sentences import LANGUAGES


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("example", ["cpu", "h100x2"])
def test_one_table_that_is_never_cut_off(example, language):
    folder = read_folder(ROOT / "results" / "examples" / example)
    console, words = Console(width=80, file=io.StringIO()), Wording(language)
    print_summary(console, folder, judge(folder), words)
    text = console.file.getvalue()
    table, rule, after = text.partition("─" * 40)
    assert rule
    assert "─" * 40 not in after.lstrip("─")
    assert "…" not in table + after.partition("•")[0]
    for needed in (words.say("column.throughput"), words.say("column.speed_up")):
        assert needed in text
    more = words.say("console.one_more_group", count=1)
    assert (more in text) is (example == "h100x2")
