"""The last lines of a run."""

import pytest
from analysis.factories import make_record

from common.console.closing import show_summary
from common.console.screen import open_console
from common.sentences import Sentences


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (["a.jpg"], "1 image that cannot be decoded; the record names it"),
        (["a.jpg", "b.jpg"], "2 images that cannot be decoded; the record names them"),
    ],
)
def test_skipped_images_are_counted_and_a_path_is_printed_as_it_is(tmp_path, capsys, files, told):
    path = tmp_path / "a :smile: [red] #1" / "run.json"
    path.parent.mkdir()
    show_summary(open_console(), make_record(unreadable_files=files), path, f"python 05 {path.parent}", Sentences("en"))
    printed = capsys.readouterr().out
    assert told in printed
    assert f" {path}\n" in printed
    assert f"python 05 {path.parent}\n" in printed
