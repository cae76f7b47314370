"""Findings put into words: the sentences of one language, and how numbers, names and lists stand in them."""

from __future__ import annotations

import re
import string
import tomllib
from collections.abc import Iterable
from functools import cache, reduce
from pathlib import Path
from typing import Any

from common.analysis.comparing.facts import Facts
from common.analysis.comparing.row_name import RowName
from common.analysis.findings import Finding, finding
from common.analysis.judging.cells import Cell, Column, Table
from common.formats import FORMS, number

TEMPLATES = Path(__file__).parents[3] / "templates"
MAX_LISTED = 4
CHINESE, LATIN = re.compile("[\u3400-\u9fff]"), re.compile("[A-Za-z0-9%×]")


@cache
def sentences(language: str = "en") -> dict[str, str]:
    """Every sentence of a language by its id, `verdict.faster`."""
    return dict(_flat("", tomllib.loads((TEMPLATES / f"sentences.{language}.toml").read_text(encoding="utf-8"))))


def _flat(prefix: str, parts: dict) -> Iterable[tuple[str, str]]:
    for name, part in parts.items():
        if isinstance(part, dict):
            yield from _flat(f"{prefix}{name}.", part)
        else:
            yield prefix + name, part


class Wording(string.Formatter):
    """Writes findings in one language. What may follow a colon in a sentence: see the head of the sentences' file."""

    def __init__(self, language: str = "en") -> None:
        self.language = language
        self._sentences = sentences(language)

    def text(self, thing: Any) -> str:
        """A finding, a row's name, or a plain value as text."""
        if isinstance(thing, Finding):
            id = thing.id
            if id.startswith("fact_value.") and id not in self._sentences:
                id = "fact_value.any"
            return self._fill(self._sentences[id], thing.values)
        if isinstance(thing, RowName):
            return self._row(thing, "row.single")
        if isinstance(thing, bool):
            return self._sentences[f"bool.{str(thing).lower()}"]
        return str(thing)

    def _fill(self, sentence: str, values: dict[str, Any]) -> str:
        """A sentence with its values in their places."""
        text = ""
        for literal, field, spec, _ in self.parse(sentence):
            text = self.joined(text, literal)
            if field is not None:
                text = self.joined(text, str(self.format_field(values[field], spec or "")))
        return text

    def joined(self, one: str, other: str) -> str:
        """Two texts as one. In Chinese: a space between a Chinese and a Latin character, none between two Chinese."""
        if self.language != "zh-TW" or not one.strip(" ") or not other.strip(" "):
            return one + other
        first, second = one.rstrip(" "), other.lstrip(" ")
        is_chinese = [bool(CHINESE.match(letter)) for letter in (first[-1], second[0])]
        if all(is_chinese):
            return first + second
        beside = second[0] if is_chinese[0] else first[-1]
        return f"{first} {second}" if any(is_chinese) and LATIN.match(beside) else one + other

    def lines(self, things: Iterable[Any]) -> list[str]:
        """Several at once."""
        return [self.text(thing) for thing in things]

    def say(self, id: str, **values: Any) -> str:
        """A sentence by its id."""
        return self.text(finding(id, **values))

    def fact(self, name: str, value: Any) -> tuple[str, str]:
        """A fact's name and its value."""
        return self.say(f"fact.{name}"), self.text(finding(f"fact_value.{name}", value=value))

    def facts(self, known: Facts) -> list[tuple[str, str]]:
        """Names and values of several."""
        return [self.fact(name, value) for name, value in known.items()]

    def header(self, column: Column) -> str:
        """A column's header. Phases and GPUs have columns of their own, `phase.forward`, `to_gpu.1`."""
        kind, _, of = column.id.partition(".")
        if not of:
            return self.say(f"column.{kind}")
        return self.say("column.phase_ms", phase=of) if kind == "phase" else self.say(f"column.{kind}", gpu=of)

    def label(self, column: Column) -> str:
        """The header in one line."""
        return reduce(self.joined, self.header(column).replace("\n", "\n ").splitlines())

    def title(self, table: Table) -> str:
        """A table's title."""
        return self.text(table.title or finding(f"table.{table.id}"))

    def cell(self, cell: Cell) -> str:
        """What stands in a cell, without its interval and notes."""
        if not cell.form:
            return self.text(cell.value)
        form = FORMS[cell.form]
        return form(cell.value) if cell.beside is None else f"{form(cell.value)} / {form(cell.beside)}"

    def interval(self, cell: Cell) -> str:
        """A cell's interval, without the unit where that stands beside the value."""
        if cell.interval is None:
            return ""
        ends = FORMS[cell.form].interval(*cell.interval)
        whole = self._ends(cell.form, cell.interval)
        return whole.removesuffix(f" {ends.unit}") if ends.unit == FORMS[cell.form](cell.value).unit else whole

    def _ends(self, form: str, ends: tuple[float, float]) -> str:
        """Both ends of an interval: `0.103–0.471 ms`, `−1.75 to 0.415 ms`."""
        return FORMS[form].interval(*ends).replace(" to ", self._sentences["list.to"])

    def format_field(self, value: Any, spec: str) -> str:
        """How one value stands in a sentence."""
        if spec in FORMS:
            return FORMS[spec](getattr(value, "value", value))
        how, _, what = spec.partition(" ")
        if how == "interval":
            return self._ends(what, getattr(value, "interval", value))
        if how == "of":
            return self._sentences[f"{what}.{value}"]
        if how == "join":
            return what.join(self.lines(value))
        special = {
            "": self.text,
            "within": lambda name: self._row(name, "row.single_within"),
            "capital": lambda thing: self.text(thing)[:1].upper() + self.text(thing)[1:],
            "and": lambda things: self._sentences["list.and"].join(self.lines(things)),
            "short": self._short,
            "or_defaults": lambda options: options or self._sentences["defaults.name"],
            "checks": lambda ids: self._short([self._sentences[f"check_name.{id}"] for id in ids]),
            "counts": lambda counts: " / ".join(map(FORMS["count"], counts)),
            "numbers": lambda values: ", ".join(map(number, values)),
            "sizes": lambda sizes: ", ".join(map(FORMS["GiB"], sizes)),
        }
        return special[how](value) if how in special else format(value, spec)

    def _short(self, things: Iterable[Any]) -> str:
        """`a, b, c, d and 3 more`."""
        unique = list(dict.fromkeys(self.lines(things)))
        shown = self._sentences["list.comma"].join(unique[:MAX_LISTED])
        more = len(unique) - MAX_LISTED
        return self.say("list.more", shown=shown, count=more) if more > 0 else shown

    def _row(self, name: RowName, single: str) -> str:
        text = self.say(single if name.method == "single" else f"row.{name.method}", devices=name.devices)
        for id, value, is_said in (
            ("on_nodes", {"nodes": name.nodes}, name.nodes > 1),
            ("letter", {"letter": name.letter}, name.letter),
            ("options", {"options": name.options}, name.options),
            ("not_valid", {}, not name.is_valid),
        ):
            text = self.say(f"row.{id}", row=text, **value) if is_said else text
        return text
