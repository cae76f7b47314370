"""Everything that the lab says stands in the catalogue of Chinese, with the same values, and nothing else does."""

from __future__ import annotations

import re
import string
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from conftest import ROOT

from common.messages import TEMPLATES, Message, catalogue, message, message_in
from common.sentences import Sentences

pofile = pytest.importorskip("babel.messages.pofile")
KEYWORDS = ("message", "message_in:1c,2", "translate", "counted:2,3", "notes", "warns", "fails")
"""As in the Makefile: what is given a text to say."""
CHINESE = TEMPLATES / "zh-TW.po"


def said_by_the_code(folder: Path) -> dict[tuple[str, str], list[str]]:
    """Where each text stands, by its context and its English."""
    catalogue = folder / "messages.pot"
    keywords = [word for keyword in KEYWORDS for word in ("-k", keyword)]
    command = [sys.executable, "-m", "babel.messages.frontend", "-q", "extract", "-F", "pyproject.toml"]
    done = subprocess.run([*command, *keywords, "-o", str(catalogue), "."], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "a text that is no literal"
    return {key: [file for file, _ in one.locations] for key, one in entries(catalogue).items()}


def entries(file: Path) -> dict:
    with open(file, "rb") as opened:
        catalog = pofile.read_po(opened, locale="zh_TW")
    assert not catalog.obsolete
    return {(one.context or "", english): one for one in catalog for english in as_tuple(one.id) if english}


def as_tuple(text: str | tuple[str, ...]) -> tuple[str, ...]:
    return (text,) if isinstance(text, str) else tuple(text)


def values_in(text: str) -> Counter:
    """Names and forms of the values, as often as each stands there."""
    return Counter((name, form.split(" ")[0]) for _, name, form, _ in string.Formatter().parse(text) if name)


def test_the_catalogue_has_what_the_code_says_and_nothing_else(tmp_path):
    said = said_by_the_code(tmp_path)
    assert len(said) > 100
    assert {key: where for key, where in said.items() if key not in catalogue("zh-TW")} == {}, "make messages"
    assert [key for key in entries(CHINESE) if key not in said] == [], "make messages"


def test_every_translation_is_there_and_has_the_values_of_the_english():
    for (context, english), entry in entries(CHINESE).items():
        values = values_in(as_tuple(entry.id)[-1])  # of the plural, which Chinese always has
        for chinese in as_tuple(entry.string):
            assert chinese, english
            assert not entry.fuzzy, english
            assert set(values_in(chinese)) == set(values), english
            assert catalogue("zh-TW")[context, english] == chinese


def test_a_sentence_in_both_languages():
    one = message("{steps}, not counted", steps=3)
    assert Sentences("en").text(one) == "3, not counted"
    assert Sentences("zh-TW").text(one) == "3，不計入"
    assert Sentences("zh-TW").text(one.with_values(steps=4)) == "4，不計入"


def test_what_has_no_translation_is_said_in_english():
    assert Sentences("zh-TW").text(Message("never {said}", {"said": "heard"})) == "never heard"


def test_one_english_text_may_have_two_translations():
    assert Sentences("zh-TW").text(message_in("plan", "devices")) == "裝置"
    assert Sentences("en").text(message_in("plan", "devices")) == "devices"


def test_one_and_several():
    assert [Sentences("en").counted(number, "{count} step", "{count} steps") for number in (1, 2)] == [
        "1 step",
        "2 steps",
    ]
    assert Sentences("zh-TW").counted(2, "{count} step", "{count} steps") == "2 步"


def tables_and_where() -> list[tuple[str, str]]:
    """Each table of step 05's sentences, `check` for all of `[check.…]`, and the comment above the first of them."""
    text = (TEMPLATES / "sentences.en.toml").read_text()
    found = re.findall(r"((?:^# .*\n)*)^\[([a-z_]+)[\].]", text, re.MULTILINE)
    return list({table: where for where, table in reversed(found)}.items())


@pytest.mark.parametrize(("table", "where"), tables_and_where())
def test_a_comment_says_where_the_sentences_of_a_table_are_used(table, where):
    """One search leads from a sentence of the page to its line of code: `"check.` in the module that is named."""
    if f"`of {table}`" in where:
        assert re.search(rf":of {table}[}} ]", (TEMPLATES / "sentences.en.toml").read_text())
        return
    files = re.findall(r"[^\s#,]+", where)
    assert files, f"[{table}]: no module is named"
    for file in files:
        assert re.search(rf"[\"']{table}\.", (ROOT / file).read_text()), f"[{table}]: {file} does not use it"
