"""Translations as a translator keeps them, in `templates/*.po`: English texts, and each in another language."""

from __future__ import annotations

import re
from ast import literal_eval
from functools import cache
from pathlib import Path

TEMPLATES = Path(__file__).parents[1] / "templates"
PO_PART = re.compile(r'^(msgctxt|msgid|msgid_plural|msgstr|msgstr\[0\]) ((?:"(?:[^"\\\n]|\\.)*"\n?)+)', re.MULTILINE)
"""A part of an entry of a .po file: what it is, and its text in quotes, on one line or several."""


@cache
def catalogue(language: str) -> dict[tuple[str, str], str]:
    """The translations of a language by context and English text; none for English.

    Read as they are, without a compiled file beside them: every part of an entry is a quoted text of C, as in Python.
    """
    path = TEMPLATES / f"{language}.po"
    found = {}
    for entry in path.read_text(encoding="utf-8").split("\n\n") if path.exists() else ():
        parts = {name: literal_eval(f"({text})") for name, text in PO_PART.findall(entry)}
        for english in (parts.get("msgid"), parts.get("msgid_plural")):
            if english and not entry.startswith("#, fuzzy"):
                found[parts.get("msgctxt", ""), english] = parts.get("msgstr") or parts["msgstr[0]"]
    return found
