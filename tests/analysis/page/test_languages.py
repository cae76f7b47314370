"""Two languages: the same ids, the same values, the same numbers; each page leads to the other."""

from __future__ import annotations

import html
import re
import string
from collections import Counter

import pytest

from analysis.factories import make_record, write
from analysis.profile_factories import make_probed, profiled_lab
from common.sentences import LANGUAGES, TEMPLATES, Sentences, language_of, sentences

OTHERS = [language for language in LANGUAGES if language != "en"]


def numbers(text: str) -> Counter:
    return Counter(found.rstrip(".,") for found in re.findall(r"[−+]?\d[\d,.]*", text))


def fields(sentence: str) -> Counter:
    """Values and how they are written; what stands between the parts of a list is the language's own."""
    parts = [(field, spec) for _, field, spec, _ in string.Formatter().parse(sentence) if field]
    return Counter((field, "join" if spec.startswith("join") else spec) for field, spec in parts)


@pytest.mark.parametrize("language", OTHERS)
def test_every_sentence_is_translated(language):
    english, other = sentences("en"), sentences(language)
    missing, extra = sorted(english.keys() - other.keys()), sorted(other.keys() - english.keys())
    assert not missing, f"add to templates/sentences.{language}.toml: {', '.join(missing)}"
    assert not extra, f"take out of templates/sentences.{language}.toml: {', '.join(extra)}"


@pytest.mark.parametrize("language", OTHERS)
def test_every_sentence_has_the_same_values_and_numbers(language):
    english, other = sentences("en"), sentences(language)
    both = english.keys() & other.keys()
    assert {id for id in both if fields(english[id]) != fields(other[id])} == set()
    bare = [{id: numbers(re.sub(r"\{[^}]*\}", "", words[id])) for id in both} for words in (english, other)]
    assert {id for id in both if bare[0][id] != bare[1][id]} == set()


@pytest.mark.parametrize("language", OTHERS)
def test_the_glossaries_have_the_same_entries_and_numbers(language):
    english, other = ((TEMPLATES / f"glossary.{name}.html.j2").read_text() for name in ("en", language))
    assert re.findall(r'id="([^"]+)"', english) == re.findall(r'id="([^"]+)"', other)
    assert numbers(re.sub("<[^>]+>", " ", english)) == numbers(re.sub("<[^>]+>", " ", other))


def shown(page: str) -> str:
    """What stands on a page as text, without its figures: their axes have as many ticks as their labels leave room."""
    body = page[page.index("<body>") :]
    return html.unescape(re.sub(r"<svg.*?</svg>|<[^>]+>", " ", body, flags=re.DOTALL))


@pytest.mark.parametrize("example", ["cpu", "h100x2-lab"])
def test_both_pages_have_the_same_numbers_and_lead_to_each_other(example_pages, example):
    english, chinese = example_pages(example).values()
    assert numbers(shown(english)) == numbers(shown(chinese))
    assert 'lang="zh-Hant-TW"' in chinese
    assert '<html lang="en"' in english
    assert 'href="report.zh-TW.html"' in english
    assert 'href="report.html"' in chinese


def test_no_english_sentence_is_left_on_the_chinese_page(tmp_path, compare):
    records = [*profiled_lab(), make_probed(), make_record("ddp", 2, config={"seed": 1}), make_record("ddp", 4, 1.0)]
    folder = write(tmp_path / "results", *records)
    assert compare(folder, "--lang", "zh-TW", "--quiet").returncode == 0
    chinese = (tmp_path / "report.html").read_text(encoding="utf-8")
    text = re.sub(r"<(code|pre|style|svg)\b.*?</\1>|<span lang=\"en\">.*?</span>", " ", chinese, flags=re.DOTALL)
    # Five English words in a row are a sentence; names and terms are shorter.
    found = re.findall(r"(?:\b[A-Za-z]{2,}\b[ ,]+){4}\b[A-Za-z]{2,}\b", re.sub("<[^>]+>", "|", text))
    written = " ".join(path.read_text() for path in folder.glob("*.json"))
    assert [words for words in found if words not in written] == []  # what a record says stays as it was written


def test_the_page_without_a_choice_is_in_the_readers_language():
    assert language_of({"LANG": "zh_TW.UTF-8"}) == "zh-TW"
    assert language_of({"LANG": "zh_TW.UTF-8", "LC_ALL": "C"}) == "en"
    assert language_of({"LANG": "de_DE.UTF-8"}) == language_of({}) == "en"


def test_chinese_and_latin_characters_stand_apart_by_a_space():
    words = Sentences("zh-TW")
    assert words.joined("單一 GPU", "的") == "單一 GPU 的"
    assert words.joined("的速度是 ", "單一裝置") == "的速度是單一裝置"
    assert Sentences("en").joined("a", " b") == "a b"
