"""What pages and consoles show, as data, so that both show the same. Every word in it is a message."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from common.messages import Message, message


@dataclass(frozen=True)
class Inline:
    """A message within a line that looks like a link to a place of the page, like the badge of an outcome, or bold."""

    text: Message
    anchor: str = ""
    outcome: str = ""


@dataclass(frozen=True)
class CheckMark:
    """A doubt about a figure, which stands beside it: `failed` or `warning`, and why."""

    text: Message
    outcome: str
    reason: Message


@dataclass(frozen=True)
class Cell:
    """What stands in one place of a table."""

    value: Any
    """A number, a text, a message, an inline one, or the name of a row."""
    form: str = ""
    """How a number is written, by its name in `common.formats.FORMATS`."""
    beside: float | None = None
    """A second number of the same form: `5.50 GiB / 5.36 GiB`."""
    interval: tuple[float, float] | None = None
    notes: Sequence[Any] = ()
    marks: Sequence[CheckMark] = ()

    @property
    def number(self) -> float | None:
        """The number, unrounded; None where something else stands here."""
        return self.value if isinstance(self.value, float | int) else None


@dataclass(frozen=True)
class Column:
    """A column: its header is the sentence `column.<id>`, and leads to its entry in the glossary."""

    id: str
    anchor: str = ""
    of: Any = None
    """The phase, GPU or method that it is about, where each has a column."""

    @property
    def heading(self) -> Message:
        """Its header."""
        return message(f"column.{self.id}", of=self.of)


@dataclass(frozen=True)
class Line:
    """A line of a table, of a row of this name. The first cell is its head, with the mark of a method before it."""

    cells: Sequence[Cell]
    method: str | None = None
    name: Any = None
    is_valid: bool = True


@dataclass(frozen=True)
class Table:
    """A table; without a title of its own that is the sentence `table.<id>`."""

    id: str
    columns: Sequence[Column]
    lines: Sequence[Line]
    title: Message | None = None
    hint: Message | None = None
    left_out: int = 0
    """Lines for which there was no room."""
    style: str = "sheet"
    checks: str = ""
    """Where marks lead."""

    @property
    def heading(self) -> Message:
        """What stands above it."""
        return self.title or message(f"table.{self.id}")

    @property
    def with_title(self) -> "Section":
        """The table under its title."""
        return Section(title=self.heading, contents=[self])

    @property
    def use(self) -> Message:
        """What the figures of step 01 are good for."""
        return message(f"table_use.{self.id}")


@dataclass(frozen=True)
class Point:
    """A line of a list with a state of its own, in words for those who do not see it, and more in small print."""

    text: Any
    state: str
    state_in_words: Message
    more: Message | None = None


@dataclass(frozen=True)
class Lines:
    """A list. Each line is a message, an inline one, a tuple of several, or a point."""

    lines: Sequence[Any]
    style: str = ""


@dataclass(frozen=True)
class Paragraph:
    """Messages and inline ones, one after another."""

    parts: Sequence[Any]
    style: str = ""


@dataclass(frozen=True)
class Figure:
    """The place of a figure, by the name of its file; nothing where it was not drawn."""

    name: str
    is_titled: bool = True


@dataclass(frozen=True)
class Pairs:
    """Names and their values."""

    pairs: Sequence[tuple[Any, Any]]


@dataclass(frozen=True)
class Commands:
    """Commands to run, or that were run, under a heading with the mark of a method before it."""

    commands: Sequence[str]
    heading: Any = None
    method: str | None = None
    is_listed: bool = False
    """Whether each is one of several, and not a line of one text."""


@dataclass(frozen=True)
class Section:
    """A part of the page, with parts of its own."""

    id: str = ""
    title: Any = None
    contents: Sequence[Any] = ()
    """In order: tables, lines, figures, further sections, records of step 01 for what they say of the lab's needs.
    Parts that are None are left out."""
    short: Message | None = None
    """Its title in the list of contents."""
    style: str = ""
    is_folded: bool = False
    is_open: bool = False
    """Of a folded one: whether it stands open at first."""
    method: str | None = None
    """Of a folded one: whose mark stands before its title."""
    brief: Sequence[Message] = ()
    """What the console says of it."""
    commands: Sequence[str] = ()
    """What the console proposes beside it."""
    colour: str = ""
    """On the console; without one it stands there under its title."""


NOTHING = Cell(message("cell.nothing"))
WITHHELD = Cell(message("cell.withheld"))


def not_available(*notes: Message) -> Cell:
    """`n/a`, with the reason."""
    return Cell(message("cell.not_available"), notes=notes)


def columns(*names: str) -> list[Column]:
    """Columns by id, behind a colon their entries in the glossary: `global_batch` (of its own name), `work:flops`. Of
    one GPU: `to_gpu.1:probes`."""
    shown = []
    for name in names:
        column, _, anchor = name.partition(":")
        id, _, of = column.partition(".")
        shown.append(Column(id, anchor or id.replace("_", "-"), of))
    return shown


def small(*parts: Any) -> Paragraph:
    """A paragraph in small print."""
    return Paragraph(parts, "hint")


def opening(*parts: Any) -> Paragraph:
    """The first paragraph of a section."""
    return Paragraph(parts, "lead")


def details(title: Message, *contents: Any) -> Section:
    """A folded part: only those who open it see more than its title."""
    return Section(title=title, contents=contents, is_folded=True)
