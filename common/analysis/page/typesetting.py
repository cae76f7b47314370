"""The last touch on a text: where its lines may end, where spaces stand, and what is in another language."""

from __future__ import annotations

import re

from rich.cells import cell_len

from common.sentences import FULL_WIDTH

PARTS = re.compile(r"(<(svg|style)\b.*?</\2>|<[^>]*>)", re.DOTALL)
"""Tags, and what is no text: a figure's lines are set already."""
FLAG = re.compile(r"(?<![\w-])-{1,2}[a-z][\w-]{0,28}")
WORD = re.compile(r"[^\s<>]*-[^\s<>]*")
"""Within code: whatever has a hyphen, after which browsers would end a line."""
QUOTED = re.compile("「([^「」\u3400-\u9fff]*[A-Za-z][^「」\u3400-\u9fff]*)」")
"""Between Chinese quotation marks, without a Chinese character: what a record says, in its own words."""

GAP = r"(?: +|\s*\n +)"
"""Spaces, or the end of an indented line of a template; a line that ends by intent, as in headers, has no indent."""
ROOM = re.compile(rf"(?<=[{FULL_WIDTH}]){GAP}|{GAP}(?=[{FULL_WIDTH}])|(?<=[\u3400-\u9fff])\s*\n +(?=[\u3400-\u9fff])")
"""What no Chinese text has."""


def typeset(page: str) -> str:
    """The page with every flag and every word of a command in one piece, quotations from records marked as English, and
    no spaces where Chinese has none.

    Marks are elements and no characters: what a reader copies is what stands in the record.
    """
    pieces, depth = [], 0
    for place, part in enumerate(PARTS.split(page)):
        kind = place % 3
        if kind == 0:
            pieces.append(_marked(part, in_code=depth > 0))
        elif kind == 1:
            pieces.append(part)
            depth += {"<pre": 1, "<code": 1, "</pre": -1, "</code": -1}.get(part.rstrip(">").split(" ")[0], 0)
    return "".join(pieces)


def _marked(text: str, in_code: bool) -> str:
    if in_code:
        return WORD.sub(r'<span class="word">\g<0></span>', text)
    text = ROOM.sub("", text)
    text = FLAG.sub(r'<span class="word">\g<0></span>', text)
    return QUOTED.sub(r'「<span lang="en">\1</span>」', text)


CHINESE = "\u3400-\u9fff"
OPENING, CLOSING = "（「", "）」、，。；：！？"
TOKEN = rf"[^\s{CHINESE}{OPENING}{CLOSING}]+(?: (?:[%×]|[mµ]?s|[KMG]iB)(?![\w-]))*"
"""With the unit behind it."""
PIECE = re.compile(rf"[{OPENING}]*(?:[{CHINESE}]|{TOKEN})[{CLOSING}]*\s*")
"""What stays together: one Chinese character, or a word, with its brackets and punctuation."""


def folded(text: str, width: int) -> str:
    """The text for a console, with a line end wherever the next piece would reach beyond `width` cells.

    Rich ends lines at spaces alone, of which Chinese has hardly any. Other text is unchanged.
    """
    if not re.search(f"[{CHINESE}]", text):
        return text
    lines = [""]
    for piece in filter(None, PIECE.findall(text)):
        if lines[-1] and cell_len(lines[-1]) + cell_len(piece.rstrip()) > width:
            lines.append("")
        lines[-1] += piece
    return "\n".join(line.rstrip() for line in lines)
