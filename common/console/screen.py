"""The console of the scripts: a progress bar on it, and tables that fit it, of the same data as on the page.

Rank 0 speaks, the others are given a console that is silent.
"""

from collections.abc import Collection, Iterable, Sequence
from time import monotonic
from typing import Any

from rich import box
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column as GridColumn
from rich.table import Table as Grid
from rich.text import Text

from common.content import Cell, Table
from common.formats import printable
from common.sentences import Sentences

SECONDS_BETWEEN_DRAWINGS = 0.5
MAX_ROWS = 20
"""The page has the rest."""
LEAST_NEEDED = ("energy", "global_batch", "predicted_memory", "scaling_efficiency", "epoch_time")
"""Columns that a narrow console leaves to the page, in this order; after them the last ones."""
INDENT = 2
NAME_WIDTH = 24
"""At least, of a first column that goes on in the next line."""


def open_console(rank: int = 0, quiet: bool = False) -> Console:
    """The console of this process: silent on every rank but 0, and everywhere under `--quiet`.

    Where there is no terminal (a pipe, a log) lines are 120 characters wide, so that tables do not break at 80.
    """
    plain = Console()
    return Console(quiet=quiet or rank != 0, highlight=False, emoji=False, width=None if plain.is_terminal else 120)


class TrainingProgress:
    """A bar on a terminal; elsewhere a plain line per epoch.

    The bar is drawn by the training thread, at most twice a second: a drawing thread of its own would take time from
    a CPU core that is being measured.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=console, auto_refresh=False, transient=True,
                             disable=console.quiet or not console.is_terminal)  # fmt: skip
        self._task = self._bar.add_task("", visible=False)
        self._drawn = 0.0
        self._bar.start()

    def phase(self, name: str, steps: int) -> None:
        """A new phase of `steps` optimizer steps begins."""
        self._bar.reset(self._task, description=name, total=steps, visible=True)

    def advance(self) -> None:
        """One step of the phase is done."""
        self._bar.advance(self._task)
        if monotonic() - self._drawn > SECONDS_BETWEEN_DRAWINGS:
            self._drawn = monotonic()
            self._bar.refresh()

    def line(self, text: str) -> None:
        """A line that stays, above the bar."""
        self._console.print(f"  {text}", soft_wrap=True)

    def close(self) -> None:
        """Take the bar off the screen."""
        if not self._bar.disable:
            self._bar.stop()


def safe(text: str) -> str:
    """Text from a record, safe for a terminal: no markup of rich, no control characters."""
    return escape(printable(text))


def fitting_table(
    console: Console, table: Table, words: Sentences, without: Collection[str] = (), title: str = "", indent: int = 0
) -> Grid:
    """A table without the columns that do not fit side by side, so that no number is cut off; a line names them.

    Figures have their intervals and notes below. The columns `without` are left to the page anyway.
    """
    columns = [place for place, column in enumerate(table.columns) if column.id not in without]
    needless = [place for id in LEAST_NEEDED for place in columns[2:] if table.columns[place].id == id]
    spare = needless + [place for place in reversed(columns[2:]) if place not in needless]
    any_width = console.options.update(max_width=1000)
    for count in range(len(spare) + 1):
        shown = [place for place in columns if place not in spare[:count]]
        drawn = _grid(table, shown, [words.label(table.columns[place]) for place in sorted(spare[:count])], words)
        drawn.title, drawn.title_justify = safe(title) or None, "left"
        for width in (None, NAME_WIDTH):  # the first column goes on in the next line before a number is left out
            drawn.columns[0].max_width = width
            room = console.width - indent - console.measure(drawn, options=any_width).maximum
            if room >= 0:
                drawn.columns[0].max_width = width and width + room
                return drawn
    return drawn


def _grid(table: Table, shown: Sequence[int], left_out: Sequence[str], words: Sentences) -> Grid:
    drawn = Grid(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 0, 0, 1), caption_justify="left")
    for place in shown:
        drawn.add_column(words.text(table.columns[place].heading), justify="right" if place else "left",
                         no_wrap=bool(place), overflow="fold")  # fmt: skip
    for line in table.lines[:MAX_ROWS]:
        drawn.add_row(*(_cell(line.cells[place], words, None if place else line.name) for place in shown))
    captions = []
    if rows := table.left_out + max(0, len(table.lines) - MAX_ROWS):
        captions.append(words.translate("{count:count} more rows on the page", count=rows))
    if left_out:
        captions.append(words.translate("On the page: {columns:short}", columns=left_out))
    drawn.caption = safe("\n".join(captions)) or None
    return drawn


def _cell(cell: Cell, words: Sentences, name: Any) -> str:
    mark = " [yellow]![/yellow]" if cell.marks else ""
    notes = words.lines(note for note in cell.notes if note != name)
    below = "\n".join(safe(line) for part in (words.interval(cell), *notes) for line in part.splitlines())
    text = words.text(name) if name else words.cell(cell)
    return safe(text) + mark + (f"\n[dim]{below}[/dim]" if below else "")


def facts(pairs: Iterable[tuple[Any, Any]], words: Sentences, style: str = "dim") -> Grid:
    """Names and their values, some of which have a style. What is too long for a line goes on in the next: no path is
    cut off."""
    drawn = Grid.grid(GridColumn(overflow="fold"), GridColumn(overflow="fold"), padding=(0, 2))
    for name, value in pairs:
        text = value if isinstance(value, Text) else Text(words.text(value))
        drawn.add_row(Text(words.text(name), style=style), text)
    return drawn


def print_indented(console: Console, *contents: RenderableType) -> None:
    """Print `contents` behind two spaces."""
    console.print(*(Padding(content, (0, 0, 0, INDENT), expand=False) for content in contents))


def print_part(console: Console, title: str, *contents: RenderableType) -> None:
    """Print `contents` under a title."""
    console.print(Text(f"\n{title}", style="bold"))
    print_indented(console, *contents)


def plain_table(columns: Sequence[str]) -> Grid:
    """An empty table."""
    headers = (GridColumn(column, overflow="fold") for column in columns)
    return Grid(*headers, box=None, padding=(0, 3, 0, 0), header_style="dim", pad_edge=False)
