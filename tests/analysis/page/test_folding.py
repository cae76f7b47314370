"""Chinese text in lines: no word torn, no punctuation at the start of a line."""

import pytest
from rich.cells import cell_len

from common.analysis.page.folding import folded

TEXT = "• 減少交換的次數，或減少資料量（--accumulation-steps）。"
TEXT += "DDP × 2 的交換仍使一步增加 44.3 ms（11 %；95 % 信賴區間 8.47–162 ms）。"


@pytest.mark.parametrize("width", [30, 31, 50, 79, 80, 200])
def test_lines_fit_and_tear_nothing(width):
    lines = folded(TEXT, width).split("\n")
    assert all(cell_len(line) <= width for line in lines)
    assert "".join("".join(lines).split()) == "".join(TEXT.split())
    assert not any(line[0] in "，。；：）%" or line[-1] in "（" for line in lines)
    assert len(lines) <= cell_len(TEXT) // (width - 23) + 1  # the longest piece has 23 cells
    for word in ("--accumulation-steps", "44.3 ms", "8.47–162", "95 %"):
        assert any(word in line for line in lines)


def test_other_text_is_left_to_rich():
    assert folded("Reduce the number of exchanges.", 10) == "Reduce the number of exchanges."
