"""Where lines of the page may end, where spaces are, and which parts are in another language."""

import re

from common.sentences import FULL_WIDTH

PARTS = re.compile(r"(<(svg|style)\b.*?</\2>|<[^>]*>)", re.DOTALL)
"""Tags, and what is no text: a figure's lines are set already."""
WORD = re.compile(r"(?<![\w-])-{1,2}[a-z][\w-]{0,28}|all-reduce")
CODE_WORD = re.compile(r"[^\s<>]*-[^\s<>]*")
"""What has a hyphen, after which browsers would end a line: flags and a term of ours; within code, anything."""
QUOTED = re.compile("「([^「」\u3400-\u9fff]*[A-Za-z][^「」\u3400-\u9fff]*)」")
"""Between Chinese quotation marks, without a Chinese character: what a record says, in its own words."""

GAP = r"(?: +|\s*\n +)"
"""Spaces, or the end of an indented line of a template; a line that ends by intent, as in headers, has no indent."""
ROOM = re.compile(rf"(?<=[{FULL_WIDTH}]){GAP}|{GAP}(?=[{FULL_WIDTH}])|(?<=[\u3400-\u9fff])\s*\n +(?=[\u3400-\u9fff])")
"""What no Chinese text has."""
UNIT = r"[×%]|(?:[mµ]?s|[kMGT]i?B|[kM]?J|[MGTP]FLOP|px|MHz|samples|tokens|images|runs|times|GPUs?)\b"
TIED = re.compile(
    rf"(?<=\d) (?={UNIT}|[\u3400-\u9fff])|(?<=[第約的每驟置]) (?=\d)|(?<=rank) (?=\d)|(?<=P) (?=×)|(?<=×) (?=[\dN])"
    "|(?<=\\w) (?=的)|(?<=單一) (?=[GC]PU)"
)
"""The spaces of `38.4 ms`, `3 次`, `步驟 05`, `rank 0` and `DP × 2`: no line ends there."""


def typeset(page: str) -> str:
    """The page with every flag, word of a command, and number with its unit in one piece, quotations from records
    marked as English, and no spaces where Chinese has none.

    Marks of commands are elements and no characters: what a reader copies is what stands in the record.
    """
    pieces, depth = [], 0
    for place, part in enumerate(PARTS.split(page)):
        kind = place % 3  # text; then a tag, or all of an <svg> or <style>; then the name of these two
        if kind == 1:
            depth += {"<pre": 1, "<code": 1, "</pre": -1, "</code": -1}.get(part.rstrip(">").split(" ")[0], 0)
        elif kind == 0 and depth:
            part = CODE_WORD.sub(r'<span class="word">\g<0></span>', part)
        elif kind == 0:
            part = re.sub(r"(?<=\d)–(?=\d)", "\u2060–\u2060", TIED.sub("\u00a0", ROOM.sub("", part)))
            part = WORD.sub(r'<span class="word">\g<0></span>', part)
            part = QUOTED.sub(r'「<span lang="en">\1</span>」', part)
        pieces.append(part if kind < 2 else "")
    return "".join(pieces)
