"""Lines of Chinese text: rich ends lines at spaces alone, of which Chinese has hardly any."""

from __future__ import annotations

import re

from rich.cells import cell_len

CHINESE = "\u3400-\u9fff"
OPENING, CLOSING = "（「", "）」、，。；：！？"
WORD = rf"[^\s{CHINESE}{OPENING}{CLOSING}]+(?: (?:[%×]|[mµ]?s|[KMG]iB)(?![\w-]))*"
"""With the unit behind it."""
PIECE = re.compile(rf"[{OPENING}]*(?:[{CHINESE}]|{WORD})[{CLOSING}]*\s*")
"""What stays together: one Chinese character, or a word, with its brackets and punctuation."""


def folded(text: str, width: int) -> str:
    """The text with a line end wherever the next piece would reach beyond `width` cells; unchanged without Chinese."""
    if not re.search(f"[{CHINESE}]", text):
        return text
    lines = [""]
    for piece in filter(None, PIECE.findall(text)):
        if lines[-1] and cell_len(lines[-1]) + cell_len(piece.rstrip()) > width:
            lines.append("")
        lines[-1] += piece
    return "\n".join(line.rstrip() for line in lines)
