"""Tables and facts on a console: the same data as on the page, drawn by rich."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from common.content import Cell, Table
from common.formats import printable
from common.sentences import Sentences

MAX_ROWS = 20
"""The page has the rest."""


def safe(text: str) -> str:
    """Text from a record, safe for a terminal: no markup of rich, no control characters."""
    return escape(printable(text))


def grid(table: Table, words: Sentences, without: Collection[str] = (), title: str = "") -> Grid:
    """A table, but for some of its columns; figures with their intervals and notes below."""
    drawn = Grid(title=safe(title) or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False,
                 padding=(0, 0, 0, 1))  # fmt: skip
    shown = [place for place, column in enumerate(table.columns) if column.id not in without]
    for place in shown:
        drawn.add_column(words.header(table.columns[place]), justify="right" if place else "left", no_wrap=True)
    for line in table.lines[:MAX_ROWS]:
        drawn.add_row(*(_cell(line.cells[place], words, None if place else line.name) for place in shown))
    left_out = table.left_out + max(0, len(table.lines) - MAX_ROWS)
    if left_out:
        drawn.caption = words.translate("{count:count} more rows on the page", count=left_out)
    return drawn


def _cell(cell: Cell, words: Sentences, name: Any) -> str:
    mark = " [yellow]![/yellow]" if cell.marks else ""
    notes = words.lines(note for note in cell.notes if note != name)
    below = "\n".join(safe(line) for part in (words.interval(cell), *notes) for line in part.splitlines())
    text = words.text(name) if name else words.cell(cell)
    return safe(text) + mark + (f"\n[dim]{below}[/dim]" if below else "")


def facts(pairs: Iterable[tuple[Any, Any]], words: Sentences, style: str = "dim") -> Grid:
    """Names and their values."""
    drawn = Grid.grid(padding=(0, 2))
    for name, value in pairs:
        drawn.add_row(Text(words.text(name), style=style), Text(words.text(value)))
    return drawn


def under_title(title: str, *contents: RenderableType) -> RenderableType:
    """`contents` under a title."""
    inner = (Padding(content, (0, 0, 0, 2), expand=False) for content in contents)
    return Group(Text(f"\n{title}", style="bold"), *inner)


def plain_grid(columns: Sequence[str]) -> Grid:
    """An empty table."""
    drawn = Grid(box=None, padding=(0, 3, 0, 0), header_style="dim", pad_edge=False)
    for column in columns:
        drawn.add_column(column)
    return drawn
