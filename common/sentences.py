"""What the lab says, by language: which one the reader wants, its sentences by id, and values in their places."""

import os
import re
import string
import tomllib
from collections.abc import Iterable, Mapping
from functools import cache, reduce
from typing import Any, Literal, get_args

from common.content import Cell, Column, Message
from common.formats import CORE_OF, FORMATS, FormattedNumber, number
from common.messages import TEMPLATES, catalogue, message
from common.records.methods import METHODS

Language = Literal["en", "zh-TW"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
TRADITIONAL = ("zh_tw", "zh_hk", "zh_mo", "zh_hant")
"""How the names of locales begin whose readers write Traditional Chinese."""
CHINESE, LATIN = re.compile("[\u3400-\u9fff]"), re.compile("[A-Za-z0-9%×]")
FULL_WIDTH = "，。：；、！？（）「」"
"""Chinese punctuation: it brings its own room, so that no space stands beside it."""
MAX_LISTED = 4


def language_of(environment: Mapping[str, str] = os.environ) -> str:
    """The reader's language by POSIX' variables, the first one that is set; English where it is none of ours."""
    name = next(filter(None, map(environment.get, ("LC_ALL", "LC_MESSAGES", "LANG"))), "")
    return "zh-TW" if name.lower().replace("-", "_").startswith(TRADITIONAL) else "en"


@cache
def sentences(language: str = "en") -> dict[str, str]:
    """Every sentence of a language by its id, `verdict.faster`; the methods' names are those of their table."""
    names = {}
    for method in METHODS.values():
        if method.short:
            names[f"short.{method.name}"], names[f"method.{method.name}"] = method.short, method.title
            names[f"row.{method.name}"] = f"{method.short} × {{devices}}"
    text = (TEMPLATES / f"sentences.{language}.toml").read_text(encoding="utf-8")
    return names | dict(_flat("", tomllib.loads(text)))


def _flat(prefix: str, parts: dict) -> Iterable[tuple[str, str]]:
    for name, part in parts.items():
        if isinstance(part, dict):
            yield from _flat(f"{prefix}{name}.", part)
        else:
            yield prefix + name, part


SPOKEN_UNITS = (message("samples/s"), message("tokens/s"))
"""Those that are words; others are the same in every language."""


class Sentences(string.Formatter):
    """Says things in one language. What may follow a colon in a sentence: see the head of the sentences' file."""

    def __init__(self, language: str = "en") -> None:
        self.language = language
        self._sentences = sentences(language)
        self._catalogue = catalogue(language)
        self.gap = "" if language == "zh-TW" else " "
        """Between two sentences."""

    def translate(self, text: str, /, **values: Any) -> str:
        """A sentence, given in English."""
        return self.fill(self._said(text), values)

    def _said(self, text: str, context: str = "") -> str:
        return self._sentences[text] if text in self._sentences else self._catalogue.get((context, text), text)

    def counted(self, number: int, one: str, several: str) -> str:
        """`1 core`, `2 cores`."""
        return self.translate(one if number == 1 else several, count=number)

    def text(self, thing: Any) -> str:
        """A message, a thing that has one (the name of a row), or a plain value as text."""
        if hasattr(thing, "as_message"):
            thing = thing.as_message()
        if isinstance(thing, Message):
            return self.fill(self._said(thing.text, thing.context), thing.values)
        if isinstance(thing, bool):
            return self.translate("yes") if thing else self.translate("no")
        return str(thing)

    def lines(self, things: Iterable[Any]) -> list[str]:
        """Several at once."""
        return [self.text(thing) for thing in things]

    def listed(self, things: Iterable[Any]) -> str:
        """`a, b, c`."""
        return self.translate(", ").join(self.lines(things))

    def paragraph(self, things: Iterable[Any]) -> str:
        """Sentences one after another."""
        return self.gap.join(self.lines(things))

    def fill(self, sentence: str, values: Mapping[str, Any]) -> str:
        """A sentence with its values in their places."""
        text = ""
        for literal, field, spec, _ in self.parse(sentence):
            text = self.joined(text, literal)
            if field is not None:
                text = self.joined(text, str(self.format_field(values[field], spec or "")))
        return text

    def joined(self, one: str, other: str) -> str:
        """Two texts as one. In Chinese: a space between a Chinese and a Latin character, none between two Chinese, and
        none beside Chinese punctuation."""
        if self.language != "zh-TW" or not one.strip(" ") or not other.strip(" "):
            return one + other
        first, second = one.rstrip(" "), other.lstrip(" ")
        is_chinese = [bool(CHINESE.match(letter)) for letter in (first[-1], second[0])]
        if all(is_chinese) or first[-1] in FULL_WIDTH or second[0] in FULL_WIDTH:
            return first + second
        latin_side = second[0] if is_chinese[0] else first[-1]
        return f"{first} {second}" if any(is_chinese) and LATIN.match(latin_side) else one + other

    def number(self, form: str, *values: float) -> FormattedNumber:
        """A number in one of `FORMATS`, or both ends of an interval, `−1.75 to 0.415 ms`; in this language."""
        text = FORMATS[form](*values)
        gap = "" if self.language == "zh-TW" and text.unit in ("%", "×") else " "
        return FormattedNumber(text.number.replace(" to ", self.translate(" to ")), self._said(text.unit), gap)

    def unit(self, form: str) -> str:
        """The unit of one of `FORMATS`, without a prefix."""
        return self.number(form, 1.0).unit

    def label(self, column: Column) -> str:
        """A column's header in one line."""
        return reduce(self.joined, self.text(column.heading).replace("\n", "\n ").splitlines())

    def cell(self, cell: Cell) -> str:
        """What stands in a cell, without its interval and notes."""
        if cell.number is None:
            return self.text(cell.value)
        values = [cell.value] if cell.beside is None else [cell.value, cell.beside]
        return " / ".join(self.number(cell.form, value) for value in values)

    def interval(self, cell: Cell) -> str:
        """A cell's interval, without the unit where that stands beside the value."""
        if cell.interval is None:
            return ""
        ends = self.number(cell.form, *cell.interval)
        return ends.number if ends.unit == self.number(cell.form, cell.value).unit else ends

    def device(self, model: str, is_one: bool = True) -> str:
        """A device's model as records have it; of a CPU core, or of several, in words."""
        cpu = model.removeprefix(CORE_OF)
        core = self.translate("1 core of {cpu}", cpu=cpu) if is_one else self.translate("cores of {cpu}", cpu=cpu)
        return model if cpu == model else core

    def format_field(self, value: Any, spec: str) -> str:
        """How one value stands in a sentence."""
        if spec in FORMATS:
            return self.number(spec, getattr(value, "value", value))
        how, _, what = spec.partition(" ")
        comma = self.translate(", ")
        special = {
            "device": self.device,
            "devices": lambda model: self.device(model, is_one=False),
            "of": lambda name: self._sentences[f"{what}.{name}"],
            "join": lambda things: what.join(self.lines(things)),
            "interval": lambda ends: self.number(what, *(getattr(ends, "interval", None) or ends)),
            "capital": lambda thing: self.text(thing)[:1].upper() + self.text(thing)[1:],
            "and": lambda things: reduce(self._both, self.lines(things)),
            "short": self._short,
            "within": lambda name: self.text(name.as_message("row.single_within")),
            "or_defaults": lambda value: value or self._sentences["defaults.name"],
            "checks": lambda ids: self._short(self._sentences[f"check_name.{id}"] for id in ids),
            "numbers": lambda values: comma.join(map(number, values)),
            "sizes": lambda sizes: comma.join(map(FORMATS["GiB"], sizes)),
        }
        if how in special:
            return special[how](value)
        return format(value, spec) if spec else self.text(value)

    def _both(self, one: str, other: str) -> str:
        return self.translate("{one} and {other}", one=one, other=other)

    def _short(self, things: Iterable[Any]) -> str:
        """`a, b, c, d and 3 more`."""
        unique = list(dict.fromkeys(self.lines(things)))
        shown = self.translate(", ").join(unique[:MAX_LISTED])
        more = len(unique) - MAX_LISTED
        return self.translate("{shown} and {count} more", shown=shown, count=more) if more > 0 else shown
