"""Tables on consoles of any width: columns are left out, and named, before a number is cut off."""

import io
import re

import pytest
from conftest import ROOT
from rich.cells import cell_len
from rich.console import Console

from common.analysis.page.summary import print_summary
from common.analysis.predicting.inputs import read_question
from common.analysis.reading.folder import read_folder
from common.analysis.sections.report import build_report
from common.console.machine_tables import show_machine, show_probes, show_requirements
from common.console.screen import fitting_table
from common.content import Cell, Column, Line, Table
from common.sentences import LANGUAGES, Sentences

EXAMPLES = sorted(path.name for path in (ROOT / "results" / "examples").iterdir() if path.is_dir())
CUT = re.compile(r"[\w.,%]…")
"""What rich leaves of a word that does not fit."""


def printed(width: int, show) -> list[str]:
    console = Console(width=width, file=io.StringIO(), highlight=False)
    show(console)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("example", EXAMPLES)
def test_no_table_of_steps_01_and_05_cuts_a_number_off(example):
    """At the width of a terminal of 80 columns, of one of 100, and of a pipe."""
    folder = read_folder(ROOT / "results" / "examples" / example)
    report = build_report(folder, read_question("1,2,4,8", None, None, None))
    looked = folder.environment
    for language in LANGUAGES:
        words = Sentences(language)

        def show(console, words=words):
            print_summary(console, report, words, with_forecasts=bool(report.forecasts))
            if looked:
                show_machine(console, looked, words)
                show_requirements(console, looked.requirements, words)
            if looked and looked.probes:
                show_probes(console, looked.probes, words)

        for width in (80, 100, 120):
            lines = printed(width, show)
            assert [line for line in lines if CUT.search(line)] == []
            assert [
                line for line in lines if cell_len(line.rstrip()) > width and not re.match(r"make|python|torch", line)
            ] == []


WIDE_TABLE = Table(
    "comparison",
    [Column(id) for id in ("method", "epoch_time", "throughput", "speed_up", "energy")],
    [Line([Cell("DDP × 2 with a name that is long enough to need a line of its own"), Cell(12.3456, "s"),
           Cell(1235, "samples/s"), Cell(1.964, "×"), Cell(285.4, "J")])],
)  # fmt: skip


@pytest.mark.parametrize(
    ("width", "there", "left_out"),
    [
        (130, ["12.3 s", "1,235 samples/s", "1.96 ×", "285 J"], []),
        (90, ["12.3 s", "1,235 samples/s", "1.96 ×", "285 J"], []),  # the name goes on in the next line
        (60, ["12.3 s", "1,235 samples/s"], ["Energy"]),
        (45, ["12.3 s"], ["Energy", "Throughput", "Speed-up"]),
    ],
)
def test_columns_that_do_not_fit_are_named(width, there, left_out):
    text = "\n".join(printed(width, lambda console: console.print(fitting_table(console, WIDE_TABLE, Sentences()))))
    assert [number for number in there if number in text] == there
    assert [name for name in left_out if name in text.partition("On the page: ")[2]] == left_out
    assert ("On the page" in text) == bool(left_out)
    assert "…" not in text
