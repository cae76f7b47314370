"""Messages put into words: how messages, names of rows, cells and lists stand in the sentences of one language."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from typing import Any

from common.analysis.comparing.facts import Facts
from common.analysis.comparing.rows import RowName
from common.analysis.judging.cells import Cell, Column, Table
from common.content.messages import Message, message
from common.formats import FORMS, Written, number
from common.records import METHODS
from common.sentences import Sentences

MAX_LISTED = 4


class Wording(Sentences):
    """Writes messages in one language."""

    def text(self, thing: Any) -> str:
        """A message, a row's name, or a plain value as text."""
        if isinstance(thing, Message):
            id = thing.id
            if id.startswith("fact_value."):
                known = (f"{id}_{thing.values['value']}", id, "fact_value.any")
                id = next(name for name in known if name in self._sentences)
            return self.fill(self._sentences[id], thing.values)
        if isinstance(thing, RowName):
            return self._row(thing, "row.single")
        return super().text(thing)

    def listed(self, things: Iterable[Any]) -> str:
        """`a, b, c`."""
        return self._sentences["list.comma"].join(self.lines(things))

    def paragraph(self, things: Iterable[Any]) -> str:
        """Sentences one after another."""
        return self._sentences["list.gap"].join(self.lines(things))

    def fact(self, name: str, value: Any) -> tuple[str, str]:
        """A fact's name and its value."""
        return self.say(f"fact.{name}"), self.text(message(f"fact_value.{name}", value=value))

    def facts(self, known: Facts) -> list[tuple[str, str]]:
        """Names and values of several."""
        return [self.fact(name, value) for name, value in known.items()]

    def header(self, column: Column) -> str:
        """A column's header. Phases, GPUs and methods have columns of their own: `phase.forward`, `to_gpu.1`."""
        kind, _, of = column.id.partition(".")
        if not of:
            return self.say(f"column.{kind}")
        if kind == "quotient":
            over, under = of.split("/")
            other = self.say(f"short.{under}" if METHODS[under].is_parallel else "row.single_within")
            return f"{self.say(f'short.{over}')} / {other}"
        return self.say("column.phase_ms" if kind == "phase" else f"column.{kind}", of=of)

    def label(self, column: Column) -> str:
        """The header in one line."""
        return reduce(self.joined, self.header(column).replace("\n", "\n ").splitlines())

    def title(self, table: Table) -> str:
        """A table's title."""
        return self.text(table.title or message(f"table.{table.id}"))

    def cell(self, cell: Cell) -> str:
        """What stands in a cell, without its interval and notes."""
        if cell.number is None:
            return self.text(cell.value)
        values = [cell.number] if cell.beside is None else [cell.number, cell.beside]
        return " / ".join(self.written(cell.form, value) for value in values)

    def interval(self, cell: Cell) -> str:
        """A cell's interval, without the unit where that stands beside the value."""
        if cell.interval is None:
            return ""
        ends = self._ends(cell.form, cell.interval)
        return ends.number if ends.unit == self.written(cell.form, cell.number).unit else ends

    def _ends(self, form: str, ends: tuple[float, float]) -> Written:
        """Both ends of an interval: `0.103–0.471 ms`, `−1.75 to 0.415 ms`."""
        text = self._in_words(form, FORMS[form].interval(*ends))
        return Written(text.number.replace(" to ", self._sentences["list.to"]), text.unit)

    def format_field(self, value: Any, spec: str) -> str:
        """How one value stands in a sentence."""
        how, _, what = spec.partition(" ")
        if how == "interval":
            return self._ends(what, getattr(value, "interval", value))
        special = {
            "within": lambda name: self._row(name, "row.single_within"),
            "capital": lambda thing: self.text(thing)[:1].upper() + self.text(thing)[1:],
            "and": lambda things: reduce(self._both, self.lines(things)),
            "short": self._short,
            "or_defaults": lambda options: options or self._sentences["defaults.name"],
            "checks": lambda ids: self._short([self._sentences[f"check_name.{id}"] for id in ids]),
            "counts": lambda counts: " / ".join(map(FORMS["count"], counts)),
            "numbers": lambda values: self._sentences["list.comma"].join(map(number, values)),
            "sizes": lambda sizes: self._sentences["list.comma"].join(map(FORMS["GiB"], sizes)),
        }
        return special[how](value) if how in special else super().format_field(value, spec)

    def _both(self, one: str, other: str) -> str:
        return self.say("list.both", one=one, other=other)

    def _short(self, things: Iterable[Any]) -> str:
        """`a, b, c, d and 3 more`."""
        unique = list(dict.fromkeys(self.lines(things)))
        shown = self._sentences["list.comma"].join(unique[:MAX_LISTED])
        more = len(unique) - MAX_LISTED
        return self.say("list.more", shown=shown, count=more) if more > 0 else shown

    def _row(self, name: RowName, single: str) -> str:
        text = self.say(f"row.{name.method}" if METHODS[name.method].is_parallel else single, devices=name.devices)
        for id, value, is_said in (
            ("on_nodes", {"nodes": name.nodes}, name.nodes > 1),
            ("letter", {"letter": name.letter}, name.letter),
            ("options", {"options": name.options}, name.options),
            ("not_valid", {}, not name.is_valid),
        ):
            text = self.say(f"row.{id}", row=text, **value) if is_said else text
        return text
