"""What is beside the comparison: lists of runs and files end with how many more there are."""

from analysis.factories import make_record
from analysis.views import folder_of, said
from common.analysis.reading.folder import Skipped
from common.analysis.sections.other_sections import MAX_LISTED, skipped_section, unfinished_section
from common.content import Paragraph


def last_line(section) -> list[str]:
    """Of a section that ends with a paragraph."""
    last = section.contents[-1]
    return said(last.parts) if isinstance(last, Paragraph) else []


def test_long_lists_say_how_much_they_leave_out():
    (run,) = folder_of(make_record(status="interrupted")).runs
    file = Skipped("x.json", "no JSON")
    for section, thing in ((unfinished_section, run), (skipped_section, file)):
        assert last_line(section([thing] * (MAX_LISTED + 3))) == ["And 3 more."]
        assert last_line(section([thing] * MAX_LISTED)) == []
