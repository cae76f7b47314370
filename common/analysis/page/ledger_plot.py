"""The figure of the ledger: where the milliseconds of the same samples go under each method."""

from __future__ import annotations

import matplotlib as mpl

from common.analysis.judging.breakdown import Breakdown
from common.analysis.page.drawing import CARD, INK, MUTED, PHASE_COLOURS, STYLE, Plot, new_figure
from common.analysis.page.plots import flagged, name_bars, titled
from common.analysis.page.wording import Wording
from common.formats import FORMS
from common.records import METHODS

ITEM_COLOURS = {
    "ideal": METHODS["single"].colour,
    "smaller_batch": PHASE_COLOURS["optimizer"],
    "slowed": PHASE_COLOURS["optimizer"],
    "new_threads": PHASE_COLOURS["scatter"],
    "new_replicas": PHASE_COLOURS["replicate"],
    "launches": PHASE_COLOURS["loss"],
    "copies": PHASE_COLOURS["gather"],
    "exchange": PHASE_COLOURS["exchange"],
    "data_path": PHASE_COLOURS["copy"],
    "waits": PHASE_COLOURS["data wait"],
    "rest": CARD,
}
MIN_LABELLED = 0.09
"""A segment below this share of the longest bar has no room for its number; the table has it."""


def draw_ledgers(books: list[Breakdown], words: Wording) -> Plot | None:
    """Bars for the same samples: one device, then each method from the ideal on. Items below zero are not drawn; what
    lies beyond the measured step, because it is hidden there, is pale."""
    if not books:
        return None
    samples = books[0].row.record.config.global_batch_size
    alone = books[0].row.baseline.seconds_per_sample.value * samples
    bars: list[tuple[str, float, list[tuple[str, float]]]] = [("", alone, [])]
    for book in books:
        scale = samples / book.row.record.config.global_batch_size
        parts = [(item.id, item.seconds * scale) for item in book.items]
        bars.append((flagged(words, book.row, "\n"), book.measured.value * scale, parts))
    ideal, longest = books[0].ideal.value, max(seconds for _, seconds, _ in bars)
    with mpl.rc_context(STYLE | {"hatch.linewidth": 0.7}):
        figure, axes = new_figure(1.5 * len(bars) + 1.6)
        axes.barh(0, 1000 * alone, 0.5, color=METHODS["single"].colour)
        _total(axes, 0, alone)
        pieces: dict[str, list[tuple[int, float, float, float]]] = {}
        for height, (_, seconds, parts) in enumerate(bars[1:], start=1):
            left = 0.0
            for id, part in (("ideal", ideal), *parts):
                if part > 0:
                    end = min(left + part, max(left, seconds)) if parts[-1][0] == "hidden" else left + part
                    pieces.setdefault(id, []).append((height, left, end, left + part))
                    if part > MIN_LABELLED * longest:
                        _number(axes, height, left, part)
                    left += part
            axes.plot([1000 * seconds] * 2, [height - 0.34, height + 0.34], color=INK, linewidth=1.2)
            _total(axes, height, seconds, beyond=left)
        axes.axvline(1000 * ideal, color=INK, linestyle="--", linewidth=1.0)
        for id in ITEM_COLOURS:
            if id in pieces:
                _draw(axes, id, [piece[:3] for piece in pieces[id]], label=words.say(f"ledger_item.{id}"))
                _draw(axes, id, [(height, end, far) for height, _, end, far in pieces[id] if far > end], alpha=0.35)
        axes.set_xlim(right=1120 * longest)
        labels = [words.text(books[0].row.baseline.name), *(name for name, *_ in bars[1:])]
        name_bars(axes, labels, words.say("figure.ms_for_samples", samples=samples))
        figure.legend(loc="outside lower center", ncols=2, handlelength=1.4, columnspacing=1.2)
    said = zip(labels, (FORMS["ms"](seconds) for _, seconds, _ in bars), strict=True)
    caption = "ledger_hidden" if any(book.items[-1].id == "hidden" for book in books) else "ledger"
    return titled("ledger", figure, words, caption=caption, alt="; ".join(map(" ".join, said)), samples=samples)


def _draw(axes, id: str, pieces: list[tuple[int, float, float]], **look) -> None:
    """The segments (height, from, to; seconds) of one item."""
    if pieces:
        heights, lefts, ends = zip(*pieces, strict=True)
        widths = [1000 * (end - left) for left, end in zip(lefts, ends, strict=True)]
        axes.barh(heights, widths, 0.5, left=[1000 * left for left in lefts], **_style(id), **look)


def _number(axes, height: float, left: float, seconds: float) -> None:
    axes.text(
        1000 * (left + seconds / 2), height - 0.3, FORMS["ms"](seconds).number, ha="center", va="bottom", color=INK
    )


def _total(axes, height: float, seconds: float, beyond: float = 0.0) -> None:
    axes.annotate(FORMS["ms"](seconds).number, (1000 * max(seconds, beyond), height), (4, 0),
                  textcoords="offset points", va="center", color=INK, weight="bold")  # fmt: skip


def _style(id: str) -> dict:
    hatch = None if id in ("ideal", "smaller_batch", "slowed") else "////"
    return {
        "facecolor": ITEM_COLOURS[id],
        "hatch": hatch,
        "edgecolor": MUTED if id == "rest" else CARD,
        "linewidth": 0.6,
    }
