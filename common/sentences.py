"""What the lab says, by language: which one the reader wants, its sentences by id, and values in their places."""

from __future__ import annotations

import os
import re
import string
import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

from common.formats import CORE_OF, FORMS, Written
from common.records.methods import METHODS

Language = Literal["en", "zh-TW"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
TRADITIONAL = ("zh_tw", "zh_hk", "zh_mo", "zh_hant")
"""How the names of locales begin whose readers write Traditional Chinese."""
TEMPLATES = Path(__file__).parents[1] / "templates"
CATALOGUES = ("sentences", "consoles")
"""Files of sentences: those of step 05 and of the fault lab, and those that 01 to 04 print."""
CHINESE, LATIN = re.compile("[\u3400-\u9fff]"), re.compile("[A-Za-z0-9%×]")
FULL_WIDTH = "，。：；、！？（）「」"
"""Chinese punctuation: it brings its own room, so that no space stands beside it."""


def language_of(environment: Mapping[str, str] = os.environ) -> str:
    """The reader's language by POSIX' variables, the first one that is set; English where it is none of ours."""
    name = next(filter(None, map(environment.get, ("LC_ALL", "LC_MESSAGES", "LANG"))), "")
    return "zh-TW" if name.lower().replace("-", "_").startswith(TRADITIONAL) else "en"


@cache
def sentences(language: str = "en") -> dict[str, str]:
    """Every sentence of a language by its id, `verdict.faster`; the methods' names are those of their table."""
    named = [method for method in METHODS.values() if method.short]
    names = {id: text for method in named for id, text in (
        (f"short.{method.name}", method.short),
        (f"method.{method.name}", method.title),
        (f"row.{method.name}", f"{method.short} × {{devices}}"),
    )}  # fmt: skip
    texts = ((TEMPLATES / f"{name}.{language}.toml").read_text(encoding="utf-8") for name in CATALOGUES)
    return names | {id: sentence for text in texts for id, sentence in _flat("", tomllib.loads(text))}


def _flat(prefix: str, parts: dict) -> Iterable[tuple[str, str]]:
    for name, part in parts.items():
        if isinstance(part, dict):
            yield from _flat(f"{prefix}{name}.", part)
        else:
            yield prefix + name, part


class Sentences(string.Formatter):
    """Says things in one language. What may follow a colon in a sentence: see the head of the sentences' file."""

    def __init__(self, language: str = "en") -> None:
        self.language = language
        self._sentences = sentences(language)

    def say(self, id: str, **values: Any) -> str:
        """A sentence by its id."""
        return self.fill(self._sentences[id], values)

    def counted(self, number: int, id: str) -> str:
        """`1 core`, `2 cores`: the sentence with this id, or for several the one with an s after it."""
        return self.say(id if number == 1 else f"{id}s", count=number)

    def text(self, thing: Any) -> str:
        """A plain value as text."""
        return self._sentences[f"bool.{str(thing).lower()}"] if isinstance(thing, bool) else str(thing)

    def lines(self, things: Iterable[Any]) -> list[str]:
        """Several at once."""
        return [self.text(thing) for thing in things]

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
        beside = second[0] if is_chinese[0] else first[-1]
        return f"{first} {second}" if any(is_chinese) and LATIN.match(beside) else one + other

    def written(self, form: str, value: float) -> Written:
        """A number in one of `FORMS`, its unit in this language."""
        return self._in_words(form, FORMS[form](value))

    def _in_words(self, form: str, text: Written) -> Written:
        return Written(text.number, self._sentences.get(f"unit.{form}", text.unit))

    def device(self, model: str) -> str:
        """A device's model as records have it; of a CPU core in words."""
        cpu = model.removeprefix(CORE_OF)
        return model if cpu == model else self.say("device.core", cpu=cpu)

    def format_field(self, value: Any, spec: str) -> str:
        """How one value stands in a sentence."""
        if spec in FORMS:
            return self.written(spec, getattr(value, "value", value))
        if spec == "device":
            return self.device(value)
        if spec == "devices":
            cpu = value.removeprefix(CORE_OF)
            return value if cpu == value else self.say("device.cores", cpu=cpu)
        how, _, what = spec.partition(" ")
        if how == "of":
            return self._sentences[f"{what}.{value}"]
        if how == "join":
            return what.join(self.lines(value))
        return format(value, spec) if spec else self.text(value)
