"""What is said, in English, with its values; and its translations, as a translator keeps them, in `templates/*.po`.

A sentence stands where it is decided; `common/sentences.py` says it in the reader's language and puts its values in
their places. Translations are found by the English text: docs/style.md says how.
"""

import re
from ast import literal_eval
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True)
class Message:
    """One sentence, or a part of one."""

    text: str
    """In English, with the names of its values in braces: `{row} is {ratio:times} as fast`."""
    values: dict[str, Any] = field(default_factory=dict)
    """What the sentence mentions: numbers in SI units, estimates, names of rows, other messages."""
    context: str = ""
    """Tells texts apart that are one in English and two in another language (gettext's msgctxt)."""

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def with_values(self, **values: Any) -> Self:
        """The same sentence, of these values."""
        return replace(self, values=values)


def message(text: str, /, **values: Any) -> Message:
    """A message, written shorter. Its text is a literal, for that is what translators are given."""
    return Message(text, values)


def message_in(context: str, text: str, /, **values: Any) -> Message:
    """A message whose text has another translation in another context."""
    return Message(text, values, context)


TEMPLATES = Path(__file__).parents[1] / "templates"
PO_PART = re.compile(r'^(msgctxt|msgid|msgid_plural|msgstr|msgstr\[0\]) ((?:"(?:[^"\\\n]|\\.)*"\n?)+)', re.MULTILINE)
"""A part of an entry of a .po file: what it is, and its text in quotes, on one line or several."""


@cache
def catalogue(language: str) -> dict[tuple[str, str], str]:
    """The translations of a language by context and English text; none for English.

    Read as they are, without a compiled file beside them: every part of an entry is a quoted text of C, as in Python.
    """
    path = TEMPLATES / f"{language}.po"
    translations = {}
    for entry in path.read_text(encoding="utf-8").split("\n\n") if path.exists() else ():
        parts = {name: literal_eval(f"({text})") for name, text in PO_PART.findall(entry)}
        for english in (parts.get("msgid"), parts.get("msgid_plural")):
            if english and not entry.startswith("#, fuzzy"):
                translations[parts.get("msgctxt", ""), english] = parts.get("msgstr") or parts["msgstr[0]"]
    return translations
