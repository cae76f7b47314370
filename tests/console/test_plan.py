"""The table before a run."""

from analysis.factories import make_record
from rich.console import Console

from common.console.run_lines import show_plan
from common.sentences import Sentences


def test_markup_in_a_models_name_is_text(capsys):
    record = make_record(config={"model": "[red]of[/bold] mine[link=x]", "data_source": "[b]", "data_dir": "x"})
    show_plan(Console(width=200), Sentences("en"), record)
    said = capsys.readouterr().out
    assert "[red]of[/bold] mine[link=x]" in said
    assert "[b]" in said
