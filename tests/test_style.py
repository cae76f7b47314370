"""No text that people read has the words of the tables in docs/style*.md, and Chinese text keeps its layout."""

import re
from functools import cache
from itertools import pairwise

import pytest
from conftest import ROOT

from common.messages import catalogue
from common.sentences import LANGUAGES, sentences

DOCUMENTS = [
    path for path in [*ROOT.glob("README*.md"), *(ROOT / "docs").rglob("*.md")] if not path.stem.startswith("style")
]
CODE = re.compile(r"^```.*?^```|^    .*?$|`[^`\n]+`", re.DOTALL | re.MULTILINE)
"""In a document: commands, output, names in the code."""
CHINESE = r"[\u3400-\u9fff]"


def language_of(name: str) -> str:
    return "zh-TW" if ".zh-TW." in name else "en"


@cache
def avoided(language: str) -> list[str]:
    """The first column of the style page's table."""
    page = ROOT / "docs" / ("style.md" if language == "en" else f"style.{language}.md")
    rows = re.findall(r"^\| (`.*?`) \|", page.read_text(), re.MULTILINE)
    return [phrase for row in rows for phrase in re.findall("`([^`]+)`", row)]


def found(text: str, language: str) -> list[str]:
    """Where a text has a phrase to avoid; in English as whole words."""
    edge = r"\b" if language == "en" else ""
    phrases = [edge * phrase[0].isalpha() + re.escape(phrase) + edge for phrase in avoided(language)]
    places = re.finditer("|".join(phrases), " ".join(text.split()), re.IGNORECASE)
    return [place.string[max(0, place.start() - 30) : place.end() + 30] for place in places]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_style_page_has_words_to_avoid(language):
    assert len(avoided(language)) > 20
    assert all(found(f"({phrase})", language) for phrase in avoided(language))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_documents_avoid_them(path):
    assert found(CODE.sub(" ", path.read_text()), language_of(path.name)) == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_pages_and_consoles_avoid_them(language):
    said = {english: english if language == "en" else chinese for (_, english), chinese in catalogue("zh-TW").items()}
    assert len(said) > 200
    texts = sentences(language) | said
    texts |= {
        path.name: re.sub("<[^>]*>|{[{%#].*?[}%#]}", " ", path.read_text())
        for path in (ROOT / "templates").glob("*.j2")
        if (".zh-TW." in path.name) == (language == "zh-TW")
    }
    assert {id: places for id, text in texts.items() if (places := found(text, language))} == {}


@pytest.mark.parametrize("path", [path for path in DOCUMENTS if ".zh-TW." in path.name], ids=lambda path: path.name)
def test_a_chinese_paragraph_is_one_line_of_source(path):
    """A break within a paragraph would be shown as a space."""
    lines = CODE.sub("", path.read_text()).split("\n")
    is_text = re.compile(rf"(?:[-\d.]+ |\*\*|  )?.*{CHINESE}")
    assert [second for first, second in pairwise(lines) if is_text.match(first) and first[0] not in "|#"
            and is_text.match(second) and not re.match(r"[-|#]|\d+\. ", second)] == []  # fmt: skip
