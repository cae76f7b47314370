"""What step 05 says on the console: the table, the verdicts, warnings, skipped files."""

import re
from collections.abc import Sequence
from functools import partial

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape

from common.analysis.comparing.facts import grouped
from common.analysis.judging.verdicts import group_verdicts
from common.analysis.page.wording import Wording
from common.analysis.sections.changes import without_default
from common.analysis.sections.comparison import doubts_about_speed, group_table, group_title
from common.analysis.sections.group import GroupResults
from common.analysis.sections.other_sections import unequal_terms
from common.analysis.sections.prediction import prediction_notes, prediction_table
from common.analysis.sections.report import Report
from common.console.screen import MAX_ROWS, FittingTable, safe
from common.content import Message, message
from common.formats import printable

MAX_GROUPS, MAX_LINES, MAX_OPTIONS, MAX_ADVICE = 1, 8, 12, 4
"""A folder of thousands of records must not fill the terminal; the page has the rest."""

CHINESE = "\u3400-\u9fff"
OPENING, CLOSING = "（「", "）」、，。；：！？"
TOKEN = rf"[^\s{CHINESE}{OPENING}{CLOSING}]+(?: (?:[%×]|[mµ]?s|[KMG]iB)(?![\w-]))*"
"""With the unit behind it."""
PIECE = re.compile(rf"[{OPENING}]*(?:[{CHINESE}]|{TOKEN})[{CLOSING}]*\s*")
"""What stays together: one Chinese character, or a word, with its brackets and punctuation."""


def print_summary(console: Console, report: Report, words: Wording, with_forecasts: bool = False) -> None:
    """Print everything that a reader needs before opening the page."""
    say = partial(print_lines, console, words)
    for part in report.shown[:MAX_GROUPS]:
        _print_group(console, part, words)
        if with_forecasts and part.prediction:
            table = prediction_table(part.prediction)
            console.print()
            console.print(FittingTable(table, words, title=words.text(table.heading)))
            say(prediction_notes(part.prediction), "dim")
    more = len(report.shown) - MAX_GROUPS
    if more > 0:
        id = "console.more_groups" if more > 1 else "console.one_more_group"
        console.print(f"[dim]{words.translate(id, count=more)}")
    for section in report.sections:
        if section.brief and not section.colour:
            console.print(f"\n[bold]{safe(words.text(section.title))}[/bold]")
            say(section.brief)
        for command in section.commands:
            console.print(safe(command), soft_wrap=True)
    say(report.banners, "yellow")
    for section in report.sections:
        if section.colour:
            say(section.brief, section.colour)
    console.print(f"\n[bold]{_paragraph(words.text(report.headline.outcome), console)}[/bold]")
    for reason in report.answer.why if report.answer else []:
        if reason is not report.answer.because:  # that is said with the verdict
            console.print(_paragraph(words.translate("why.sentence", part=reason), console))
    if details := words.paragraph([*report.headline.pairs, *report.headline.details]):
        console.print(_paragraph(details, console))
    if any(row.missing_runs for results in report.groups for row in results.group.rows):
        console.print(f"[dim]{words.translate('console.few_runs')}[/dim]")
    if advice := report.groups[0].advice if report.groups else []:
        console.print(f"\n[bold]{words.translate('console.recommendations')}[/bold]")
        say([line.sentence for line in advice], most=MAX_ADVICE)


def print_verdict(console: Console, report: Report, words: Wording) -> None:
    """The last lines: what to use, why, and what to run next. The page begins with the same."""
    lines = [("page.verdict", words.text(report.headline.verdict))]
    if report.answer and report.answer.because:
        lines.append(("page.why", words.translate("why.sentence", part=report.answer.because)))
    lines.append(("page.next", words.text(report.next_step.why)))
    console.print()
    for id, text in lines:
        head = words.translate(id)
        console.print(_paragraph(head + words.gap + text, console).replace(head, f"[bold]{head}[/bold]", 1))
    console.print(f"  {safe(report.next_step.command)}", soft_wrap=True)


def print_lines(
    console: Console, words: Wording, lines: Sequence[Message], colour: str = "default", most: int = MAX_LINES
) -> None:
    """Print messages as a list, and how many more there are than `most`."""
    for line in lines[:most]:
        console.print(f"[{colour}]{_paragraph(f'• {words.text(line)}', console)}[/{colour}]")
    if len(lines) > most:
        console.print(f"• {words.translate('console.more_lines', count=len(lines) - most)}")


def _paragraph(text: str, console: Console) -> str:
    """The same in lines that end between words, or Chinese characters."""
    return escape(folded(printable(text), console.width))


def folded(text: str, width: int) -> str:
    """The text for a console, with a line end wherever the next piece would reach beyond `width` cells.

    Rich ends lines at spaces alone, of which Chinese has hardly any. Other text is unchanged.
    """
    if not re.search(f"[{CHINESE}]", text):
        return text
    lines = [""]
    for piece in filter(None, PIECE.findall(text)):
        if lines[-1] and cell_len(lines[-1]) + cell_len(piece.rstrip()) > width:
            lines.append("")
        lines[-1] += piece
    return "\n".join(line.rstrip() for line in lines)


def _print_group(console: Console, part: GroupResults, words: Wording) -> None:
    say, group = partial(print_lines, console, words), part.group
    console.print()
    without = ["devices"]  # the name says how many
    console.print(FittingTable(group_table(group), words, without, words.text(group_title(group))))
    say(group_verdicts(group))
    say([message("console.differs", difference=text) for text in unequal_terms(group)], "yellow")
    of_rows = []
    for row in group.main_rows[:MAX_ROWS]:
        doubts = [message("console.doubt", check=check.id, reason=check.reason) for check in doubts_about_speed(row)]
        if doubts:
            of_rows.append(message("console.doubts", row=row.name, doubts=doubts))
    say(of_rows, "yellow")
    for standard, tried in grouped(part.effects, lambda effect: effect.other).items():
        console.print(f"\n[bold]{safe(words.translate('console.options', row=standard.name))}[/bold]")
        say([effect.sentence() for effect in tried], most=MAX_OPTIONS)
    say(without_default(group))
