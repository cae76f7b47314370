"""What step 05 says on the console: the table, the verdicts, warnings, skipped files."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table as Grid

from common.analysis.comparing.rows import RowName
from common.analysis.judging.advice import Advice
from common.analysis.judging.cells import Cell, Table
from common.analysis.judging.judgement import GroupJudgement, Judgement
from common.analysis.judging.options_effect import by_standard
from common.analysis.judging.row_checks import troubles
from common.analysis.page.typesetting import folded
from common.analysis.page.wording import Wording
from common.analysis.reading.folder import Folder
from common.analysis.reading.runs import Run
from common.content.messages import Message, message
from common.formats import printable

MAX_GROUPS, MAX_ROWS, MAX_LINES, MAX_OPTIONS, MAX_ADVICE = 1, 20, 8, 12, 4
"""A folder of thousands of records must not fill the terminal; the page has the rest."""
CAN_GO = ("energy", "global_batch", "scaling_efficiency", "epoch_time")
"""Columns that a narrow console leaves to the page, in this order."""
WIDE = 1000
"""Any table fits into so many characters."""
SAID_BY_BANNERS = ("devices",)
"""Checks that a banner words already."""


def print_summary(
    console: Console, folder: Folder, judgement: Judgement, words: Wording, with_forecasts: bool = False
) -> None:
    """Print everything that a reader needs before opening the page."""
    for part in judgement.shown[:MAX_GROUPS]:
        _print_group(console, part, words)
        if with_forecasts and part.foresight:
            title = words.title(part.foresight.table)
            console.print()
            console.print(_grid(part.foresight.table, title, words))
            _Lines(console, words)(part.foresight.notes, "dim")
    more = len(judgement.shown) - MAX_GROUPS
    if more > 0:
        console.print(f"[dim]{words.say('console.more_groups' if more > 1 else 'console.one_more_group', count=more)}")
    say_lines = _Lines(console, words)
    for series in judgement.across.batches:
        console.print(f"\n[bold]{_safe(words.text(series.title))}[/bold]")
        say_lines(series.lines)
    if judgement.across.climb:
        console.print(f"\n[bold]{words.say('table.ladder')}[/bold]")
        say_lines(judgement.across.climb.lines)
        console.print(_safe(judgement.across.climb.command), soft_wrap=True)
    if judgement.across.changes:
        console.print(f"\n[bold]{words.say('table.one_change')}[/bold]")
        say_lines([change.sentence for change in judgement.across.changes])
    say_lines(judgement.banners, "yellow")
    say_lines([message("console.not_compared", difference=text) for text in judgement.why_separate])
    say_lines([_unfinished(run) for run in judgement.unfinished], "yellow")
    for ours, colour in ((False, "yellow"), (True, "bold red")):
        id = "console.our_fault" if ours else "console.skipped"
        skipped = [item for item in folder.skipped if item.is_our_fault is ours]
        say_lines([message(id, file=item.file, reason=item.reason) for item in skipped], colour)
    outcome, details = words.text(judgement.headline.outcome), words.paragraph(judgement.headline.details)
    console.print(f"\n[bold]{_paragraph(outcome, console)}[/bold]")
    if judgement.answer and judgement.answer.why:
        console.print(f"[bold]{words.say('page.why')}[/bold]")
        for reason in judgement.answer.why:
            console.print(_paragraph(words.say("why.sentence", part=reason), console))
    if details:
        console.print(_paragraph(details, console))
    if judgement.has_few_runs:
        console.print(f"[dim]{words.say('console.few_runs')}[/dim]")
    advice = judgement.groups[0].why.advice if judgement.groups else []
    if advice:
        console.print(f"\n[bold]{words.say('console.recommendations')}[/bold]")
        say_lines([_advice(line) for line in advice], most=MAX_ADVICE)


def _advice(line: Advice) -> Message:
    id = "advice.line" if line.how else "advice.short_line"
    return message(id, what=line.what, how=line.how, because=line.because)


def _safe(text: str) -> str:
    """Text from a record, safe for a terminal: no markup of rich, no control characters."""
    return escape(printable(text))


def _paragraph(text: str, console: Console) -> str:
    """The same in lines that end between words, or Chinese characters."""
    return escape(folded(printable(text), console.width))


def _print_group(console: Console, part: GroupJudgement, words: Wording) -> None:
    say_lines = _Lines(console, words)
    console.print()
    console.print(_that_fits(console, part.comparison, words.text(part.title), words))
    say_lines(part.verdicts)
    say_lines([message("console.differs", difference=text) for text in part.differences], "yellow")
    say_lines(_doubts(part), "yellow")
    for standard, tried in by_standard(part.effects).items():
        title = words.say("console.options", row=standard.name)
        console.print(f"\n[bold]{_safe(title)}[/bold]")
        say_lines([effect.sentence for effect in tried], most=MAX_OPTIONS)
    say_lines(part.without_default)


def _that_fits(console: Console, table: Table, title: str, words: Wording) -> Grid:
    """The table with as many columns as fit side by side; the page has those that do not."""
    for count in range(len(CAN_GO) + 1):
        grid = _grid(table, title, words, without=CAN_GO[:count])
        if Measurement.get(console, console.options.update(max_width=WIDE), grid).maximum <= console.width:
            break
    left_out = [words.label(column) for column in table.columns if column.id in CAN_GO[:count]]
    if left_out:
        grid.caption = _safe(words.say("console.more_columns", columns=left_out))
    return grid


def _grid(table: Table, title: str, words: Wording, without: Sequence[str] = ()) -> Grid:
    grid = Grid(title=_safe(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 0, 0, 1))
    hidden = ("devices", *without)  # the name says how many devices
    shown = [place for place, column in enumerate(table.columns) if column.id not in hidden]
    for place in shown:
        grid.add_column(words.header(table.columns[place]), justify="right" if place else "left", no_wrap=True)
    for line in table.lines[:MAX_ROWS]:
        grid.add_row(*(_cell(line.cells[place], words, None if place else line.name) for place in shown))
    left_out = table.left_out + max(0, len(table.lines) - MAX_ROWS)
    if left_out:
        grid.caption = words.say("console.more_rows", count=left_out)
    return grid


def _cell(cell: Cell, words: Wording, name: RowName | None) -> str:
    mark = " [yellow]![/yellow]" if cell.warnings else ""
    notes = words.lines(note for note in cell.notes if not isinstance(note, RowName))
    below = "\n".join(_safe(line) for part in (words.interval(cell), *notes) for line in part.splitlines())
    text = words.text(name) if name else words.cell(cell)
    return _safe(text) + mark + (f"\n[dim]{below}[/dim]" if below else "")


def _doubts(part: GroupJudgement) -> list:
    found = []
    for row in part.group.main_rows[:MAX_ROWS]:
        checks = [check for check in troubles(part.checks.get(row, []), "speed") if check.id not in SAID_BY_BANNERS]
        doubts = [message("console.doubt", check=check.id, reason=check.reason) for check in checks]
        if doubts:
            found.append(message("console.doubts", row=row.name, doubts=doubts))
    return found


def _unfinished(run: Run):
    failure = run.record.failure
    if failure is None:
        return message("console.unfinished", file=run.file, status=run.record.status)
    told = {"kind": failure.kind, "rank": failure.rank, "message": failure.message, "advice": failure.advice}
    return message("console.failed", file=run.file, status=run.record.status, **told)


class _Lines:
    """Prints messages as a list, and says how many more there are."""

    def __init__(self, console: Console, words: Wording) -> None:
        self._console, self._words = console, words

    def __call__(self, lines: Sequence, colour: str = "default", most: int = MAX_LINES) -> None:
        for line in lines[:most]:
            text = _paragraph(f"• {self._words.text(line)}", self._console)
            self._console.print(f"[{colour}]{text}[/{colour}]")
        if len(lines) > most:
            self._console.print(f"• {self._words.say('console.more_lines', count=len(lines) - most)}")
