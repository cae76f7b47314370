"""How text is set: Chinese punctuation, one way to write ratios, units in words, commands whose words stay whole."""

from __future__ import annotations

import re
import string
from html import escape
from html.parser import HTMLParser

import pytest
from rich.cells import cell_len

from common.analysis.page.summary import folded
from common.analysis.page.typesetting import typeset
from common.content import message
from common.sentences import FULL_WIDTH, Sentences, sentences

EXAMPLES = ["cpu", "h100x2-lab", "h100x2-crossover"]
INLINE = {"a", "strong", "em", "span", "code", "b", "g"}
VOID = {"meta", "link", "br", "path", "use", "rect"}


class Blocks(HTMLParser):
    """A page's text, block by block. Code is left out, and so is what is marked as English."""

    def __init__(self, left_out: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.found, self.open, self._left_out = [""], [], {"style", "pre", "defs", *left_out}

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append("style" if tag != "html" and ("lang", "en") in attrs else tag)
        if tag not in INLINE or ("class", "figures-cell") in attrs:
            self.found.append("")

    def handle_endtag(self, tag):
        if tag not in VOID:
            self.open.pop()
        if tag not in INLINE:
            self.found.append("")

    def handle_data(self, text):
        if not self._left_out & set(self.open):
            self.found[-1] += "x" if "code" in self.open else text


def blocks(page: str, *left_out: str) -> list[str]:
    parser = Blocks(left_out)
    parser.feed(page)
    return [" ".join(text.removeprefix("! ").split()) for text in map(str.strip, parser.found) if text]


WRONG = re.compile(
    "[,:;!?](?=\\s|$)|(?<=[\u3400-\u9fff])[,:;!?.]|[,:;!?](?=[\u3400-\u9fff])"  # half-width
    "|[\u3400-\u9fff] ?\\(|\\((?=[^()]*[\u3400-\u9fff])|(?<=[\u3400-\u9fff])\\)"
    f"|(?<=[{FULL_WIDTH}]) | (?=[{FULL_WIDTH}])"  # they bring their own room
)


def wrong(text: str) -> list[str]:
    """Places in a Chinese text where English punctuation stands."""
    if not re.search("[\u3400-\u9fff]", text):
        return []
    return [text[max(0, found.start() - 15) : found.end() + 15] for found in WRONG.finditer(text)]


@pytest.mark.parametrize("example", EXAMPLES)
def test_chinese_pages_have_chinese_punctuation(example_pages, example):
    texts = blocks(example_pages(example)["zh-TW"], "thead")
    assert len(texts) > 300
    assert [place for text in texts for place in wrong(text)] == []


def test_chinese_sentences_have_chinese_punctuation():
    """Those of the consoles, too, and of what no example shows."""
    found = {}
    for id, sentence in sentences("zh-TW").items():
        parts = list(string.Formatter().parse(sentence))
        told = "".join(literal + ("x" if field else "") for literal, field, *_ in parts)
        joints = [spec for _, _, spec, _ in parts if spec and re.match("join [,;:]", spec)]
        if places := [*wrong(told.strip()), *joints]:
            found[id] = places
    assert found == {}


@pytest.mark.parametrize("example", EXAMPLES)
def test_ratios_have_words_in_sentences_and_a_sign_in_tables_and_figures(example_pages, example):
    for language, word in (("en", "times"), ("zh-TW", "倍")):
        page = example_pages(example)[language]
        told = blocks(page, "table", "svg")
        ratio = re.compile(r"\d\.\d\d (×|times|倍)")
        assert {sign for text in told for sign in ratio.findall(text)} == {word}
        shown = [text for text in blocks(page) if text not in told]
        signed = re.compile(r"\d\.\d\d ?(×|times|倍)")  # Chinese has no space before the sign
        assert {sign for text in shown for sign in signed.findall(text)} == {"×"}


@pytest.mark.parametrize("example", EXAMPLES)
def test_units_and_cores_stand_in_the_pages_language(example_pages, example):
    english, chinese = (" ".join(blocks(page)) for page in example_pages(example).values())
    assert len(re.findall("samples/s", english)) == len(re.findall("樣本/秒", chinese)) >= 8
    assert "samples/s" not in chinese
    assert not re.search(r"\bcores?\b", chinese)
    assert ("1 core of AMD EPYC" in english) is ("1 個核心（AMD EPYC）" in chinese) is (example == "cpu")


def test_what_a_record_says_is_a_quotation():
    words = Sentences("zh-TW")
    line = words.text(message("note.profile", row="DP × 2", note="the data path was not measured: --x <fails>"))
    assert line == "DP × 2：「the data path was not measured: --x <fails>」"
    marked = typeset(f"<li>{escape(line)}；參閱「目錄」</li>")
    assert '：「<span lang="en">the data path' in marked
    assert "fails&gt;</span>」；參閱「目錄」" in marked


def test_marks_leave_attributes_styles_and_figures_alone():
    page = (
        '<style>--ink: 1</style><a title="--workers">--workers</a><svg><text>--one-bucket</text></svg><pre>a-b c</pre>'
    )
    assert typeset(page) == (
        '<style>--ink: 1</style><a title="--workers"><span class="word">--workers</span></a>'
        '<svg><text>--one-bucket</text></svg><pre><span class="word">a-b</span> c</pre>'
    )


@pytest.mark.parametrize(
    "whole",
    [
        "38.4 ms",
        "315 J",
        "81.2 樣本/秒",
        "1.9 倍",
        "18 條",
        "DP × 2",
        "DDP × N",
        "步驟 05",
        "rank 0",
        "單一 GPU 的 1.9 倍",
        "3 runs",
    ],
)
def test_no_line_ends_within(whole):
    tied = whole.replace(" ", "\u00a0")
    assert typeset(f"<p>it is {whole} here</p>") == f"<p>it is {tied} here</p>"


BROKEN = """() => {
    document.querySelectorAll('details').forEach(part => part.open = true);
    const found = [], seen = document.createTreeWalker(document.querySelector('main'), NodeFilter.SHOW_TEXT);
    for (let node = seen.nextNode(); node; node = seen.nextNode()) {
        if (node.parentElement.closest('svg, style')) continue;
        const words = node.parentElement.closest('pre, code') ? /[^\\s]+/g : /(?<![\\w-])--?[a-z][\\w-]*/g;
        for (const word of node.data.matchAll(words)) {
            const range = document.createRange();
            range.setStart(node, word.index);
            range.setEnd(node, word.index + word[0].length);
            const tops = new Set([...range.getClientRects()].filter(r => r.width).map(r => Math.round(r.top)));
            if (tops.size > 1) found.push(word[0]);
        }
    }
    return found;
}"""


@pytest.mark.parametrize("width", [390, 1200])
def test_words_of_commands_stay_whole_and_can_be_copied(open_page, lab_page, width):
    page = open_page(lab_page.with_name("checkpoints.html"), width)
    assert page.evaluate(BROKEN) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    commands = page.locator(".commands span:not(.word)").first
    copied = commands.evaluate("one => { getSelection().selectAllChildren(one); return getSelection().toString(); }")
    assert copied.strip() == commands.text_content().strip()
    assert re.fullmatch(r"(python|torchrun) [\w .,=-]+", copied.strip())


TEXT = "• 減少交換的次數，或減少資料量（--accumulation-steps）。"
TEXT += "DDP × 2 的交換仍使一步增加 44.3 ms（11 %；95 % 信賴區間 8.47–162 ms）。"


@pytest.mark.parametrize("width", [30, 31, 50, 79, 80, 200])
def test_chinese_lines_fit_a_console_and_tear_nothing(width):
    lines = folded(TEXT, width).split("\n")
    assert all(cell_len(line) <= width for line in lines)
    assert "".join("".join(lines).split()) == "".join(TEXT.split())
    assert not any(line[0] in "，。；：）%" or line[-1] in "（" for line in lines)
    assert len(lines) <= cell_len(TEXT) // (width - 23) + 1  # the longest piece has 23 cells
    for word in ("--accumulation-steps", "44.3 ms", "8.47–162", "95 %"):
        assert any(word in line for line in lines)


def test_other_text_is_left_to_rich():
    assert folded("Reduce the number of exchanges.", 10) == "Reduce the number of exchanges."
