"""What step 05 says on the console: the table, the verdict, warnings, skipped files."""

from __future__ import annotations

import re
from dataclasses import replace

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from common.analysis.comparing.groups import Group, Row
from common.analysis.judging.advice import advise
from common.analysis.judging.explain import SAID_BY_BANNERS, banners, group_title, why_separate
from common.analysis.judging.options_effect import by_standard, effects, without_default
from common.analysis.judging.verdict import headline, verdicts
from common.analysis.judging.why import reasons
from common.analysis.page.table import Cell, columns
from common.analysis.reading.folder import Folder

FEW_RUNS = (
    "Some rows rest on fewer than three runs: what is said of them knows nothing of the difference between launches"
)
MOST_GROUPS, MOST_ROWS, MOST_LINES, MOST_OPTIONS = 4, 20, 8, 12
"""A folder of thousands of records must not fill the terminal; the page has the rest."""


def print_summary(console: Console, folder: Folder, groups: list[Group]) -> None:
    """Print everything that a reader needs before opening the page."""
    for group in groups[:MOST_GROUPS]:
        console.print()
        console.print(_table(group))
        _lines(console, [verdict.text for verdict in verdicts(group)])
        _lines(console, reasons(group))
        _lines(console, [f"differs: {text}" for text in group.differences], "yellow")
        _lines(console, [f"{row.label}: {_trouble(cell)}" for row, cell in _spoilt(group)], "yellow")
        for standard, tried in by_standard(effects(group)).items():
            console.print(f"\n[bold]What DDP's options do[/bold], against {standard.label} with the default ones")
            _lines(console, [effect.text for effect in tried], most=MOST_OPTIONS)
        _lines(console, without_default(group))
    if len(groups) > MOST_GROUPS:
        console.print(f"\n… and {len(groups) - MOST_GROUPS} more groups, all on the page.")
    _lines(console, banners(groups), "yellow")
    if len(groups) > 1:
        _lines(console, [f"not compared with each other: {text}" for text in why_separate(groups)])
    unfinished = [run for run in folder.runs if not run.is_comparable]
    _lines(console, [f"{run.file}: {run.record.status}{_why(run.record.failure)}" for run in unfinished], "yellow")
    _lines(console, [f"skipped {item.file}: {item.reason}" for item in folder.skipped], "yellow")
    console.print(f"\n[bold]{printable(headline(groups).outcome)}[/bold]\n{printable(headline(groups).detail)}")
    if any(len(row.runs) < 3 for group in groups for row in group.rows):
        console.print(f"[dim]{FEW_RUNS}: make lab REPEATS=3 measures that too.[/dim]")
    if groups and (advice := advise(groups[0], folder.probes)):
        console.print("\n[bold]What follows[/bold]")
        _lines(console, [str(line) for line in advice])


def printable(text: str) -> str:
    """Text from a record, safe for a terminal: no markup of rich, no control characters."""
    return escape("".join(letter if letter.isprintable() else "�" for letter in text))


def _table(group: Group) -> Table:
    table = Table(
        title=printable(group_title(group)),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 0, 0, 1),
    )
    parts = [column for column in columns(group) if column.anchor != "devices"]  # the label says how many
    for position, column in enumerate(parts):
        header = re.sub(r" (?=\(|batch|efficiency|1,000)", "\n", column.header)
        table.add_column(header, justify="left" if position == 0 else "right", no_wrap=True)
    for row in group.main_rows[:MOST_ROWS]:
        first, *rest = (column.cell(row) for column in parts)
        table.add_row(_cell(replace(first, text=row.label, note=first.note.replace(", ", "\n"))), *map(_cell, rest))
    if len(group.main_rows) > MOST_ROWS:
        table.caption = f"{len(group.main_rows) - MOST_ROWS} more rows on the page"
    return table


def _cell(cell: Cell) -> str:
    mark = " [yellow]![/yellow]" if cell.warnings else ""
    below = "\n".join(filter(None, [cell.interval, cell.note]))
    return printable(cell.text) + mark + (f"\n[dim]{escape(below)}[/dim]" if below else "")


def _spoilt(group: Group) -> list[tuple[Row, Cell]]:
    cells = ((row, column.cell(row)) for row in group.main_rows[:MOST_ROWS] for column in columns(group))
    return [(row, cell) for row, cell in cells if any(check.name not in SAID_BY_BANNERS for check in cell.warnings)]


def _trouble(cell: Cell) -> str:
    return "; ".join(f"{check.name} ({check.reason})" for check in cell.warnings if check.name not in SAID_BY_BANNERS)


def _why(failure) -> str:
    return f" ({failure.kind} on rank {failure.rank}: {failure.message}). {failure.advice}" if failure else ""


def _lines(console: Console, lines: list[str], colour: str = "default", most: int = MOST_LINES) -> None:
    for line in lines[:most]:
        console.print(f"[{colour}]• {printable(line)}[/{colour}]")
    if len(lines) > most:
        console.print(f"• … and {len(lines) - most} more, on the page")
