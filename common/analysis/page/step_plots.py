"""Figures of the reasons: where a step's time goes, and how fast the machine exchanges gradients."""

import math

from matplotlib.ticker import NullLocator

from common.analysis.comparing.groups import Group
from common.analysis.judging.breakdown import Breakdown
from common.analysis.judging.row_checks import pooled_checks
from common.analysis.page.charts import (
    CARD,
    INK,
    MUTED,
    Plot,
    bar_chart,
    draw_mark,
    draw_stack,
    hatched,
    label_end,
    line_chart,
    titled,
)
from common.analysis.page.comparison_plots import MAX_BARS
from common.analysis.page.wording import Wording, flagged
from common.analysis.reading.step_profile import BETWEEN_DEVICES, PHASES
from common.formats import FORMATS
from common.records import METHODS, AllReduce, PhaseName

PHASE_COLOURS: dict[PhaseName, str] = {
    "data wait": "#a4b1bd",
    "copy": "#dacfb0",
    "scatter": "#e4b437",
    "replicate": "#aa4847",
    "forward": "#6ac7fb",
    "gather": "#a87111",
    "loss": "#303449",
    "backward": "#5a7ec6",
    "reduce": "#e0789e",
    "exchange": "#762a60",
    "optimizer": "#1d6834",
}
"""Of phases: hatched those that only several devices have."""
COST_COLOURS = {"new_threads": "#c8b529", "slowed": "#0e96bb", "wrapper": "#ba8985"}
"""Of what is no phase. Colour-blind readers can tell apart what is in one chart, and from DP's and DDP's colours
(tests/analysis/page/test_colours.py)."""
ITEM_COLOURS = {
    "ideal": METHODS["single"].colour,
    "smaller_batch": COST_COLOURS["slowed"],
    "slowed": COST_COLOURS["slowed"],
    "data_path": PHASE_COLOURS["copy"],
    "new_threads": COST_COLOURS["new_threads"],
    "new_replicas": PHASE_COLOURS["replicate"],
    "copies": PHASE_COLOURS["gather"],
    "exchange": PHASE_COLOURS["exchange"],
    "exchange_and_wrapper": PHASE_COLOURS["exchange"],
    "wrapper": COST_COLOURS["wrapper"],
    "data_wait": PHASE_COLOURS["data wait"],
    "residual": CARD,
}
"""In the order of a bar."""
OF_ONE_DEVICE = ("ideal", "smaller_batch", "slowed")
MIN_LABELLED = 0.09
"""A segment below this share of the longest bar has no room for its number; that stands beside the bar's end."""
LEAST_SEEN = 0.01
"""Share of the longest step below which a phase is narrower than its own edge."""


def draw_breakdowns(breakdowns: list[Breakdown], words: Wording) -> Plot | None:
    """Bars for the same samples, in milliseconds: one device, then each method from the ideal on. Items below zero are
    not drawn; where the others are more than was lost, they are drawn in proportion to it, so that each bar ends at
    the measured step."""
    if not breakdowns:
        return None
    single, samples = breakdowns[0].row.baseline, breakdowns[0].row.record.config.global_batch_size
    alone, ideal = 1000 * single.seconds_per_sample.value * samples, 1000 * breakdowns[0].ideal.value
    totals, shares, known, drawn = [alone], [], [{"ideal": alone}], [{"ideal": alone}]  # one for each bar, in ms
    for one in breakdowns:
        scale = 1000 * samples / one.row.record.config.global_batch_size
        total = one.measured.value * scale
        items = {id: scale * max(0.0, cost.value) for id, cost in one.items.items()}
        share = min(1.0, max(0.0, total - ideal) / (sum(items.values()) or 1.0))
        first = {"ideal": min(ideal, total)}
        totals.append(total)
        shares.append(share)
        known.append(items | first)
        drawn.append({id: length * share for id, length in items.items()} | first)
    names = [words.text(single.name), *(flagged(words, one.row) for one in breakdowns)]
    unit, longest = words.translate("figure.ms_for_samples", samples=samples), max(totals)
    figure, axes = bar_chart(names, unit, 1.5 * len(names) + 1.6, 1.12 * longest)

    def look(id: str) -> dict:
        edge = {"edgecolor": MUTED} if id == "residual" else {}
        label = words.translate("figure.training" if id == "ideal" else f"breakdown_item.{id}")
        return {"label": label, **hatched(ITEM_COLOURS[id], id not in OF_ONE_DEVICE), **edge}

    draw_stack(axes, {id: [bar.get(id, 0.0) for bar in drawn] for id in ITEM_COLOURS}, look, thickness=0.5)
    thin: dict[int, list[str]] = {}
    for height, total in enumerate(totals):
        label_end(axes, total, height, _number(total), weight="bold")
        if height:
            draw_mark(axes, total, height)
            left = 0.0
            for id in ITEM_COLOURS:
                length, text = drawn[height].get(id, 0.0), _number(known[height].get(id, 0.0))
                if length > MIN_LABELLED * longest:
                    axes.text(left + length / 2, height - 0.3, text, ha="center", va="bottom", color=INK)
                elif length:
                    thin.setdefault(height, []).append(f"+{text}")
                left += length
    for height, texts in thin.items():
        label_end(axes, totals[height], height + 0.3, " ".join(texts))
    axes.axvline(ideal, color=INK, linestyle="--", linewidth=1.0)
    figure.legend(loc="outside lower center", ncols=2, handlelength=1.4, columnspacing=1.2)
    shown = zip(names, (FORMATS["ms"](total / 1000) for total in totals), strict=True)
    notes = [*(["breakdown_thin"] if thin else []), *(["breakdown_shares"] if min(shares) < 1 else [])]
    return titled(words, "breakdown", figure, shown, *notes, samples=samples)


def _number(milliseconds: float) -> str:
    return FORMATS["ms"](milliseconds / 1000).number


def draw_steps(group: Group, words: Wording) -> Plot | None:
    """One stacked bar for each row that was taken apart: the phases of its slowest rank, in the order of a step."""
    rows = [row for row in group.main_rows if row.profile][:MAX_BARS]
    if not rows:
        return None
    ranks = [row.profile.slowest for row in rows]
    steps = [1000 * rank.step.value for rank in ranks]
    parts = {name: [1000 * rank.phases[name].value if name in rank.phases else 0.0 for rank in ranks]
             for name in PHASES}  # fmt: skip
    longest = max(steps)
    names, unit = [flagged(words, row) for row in rows], words.translate("figure.ms_a_step")
    figure, axes = bar_chart(names, unit, 1.1 * len(rows) + 1.6, 1.2 * longest)

    def look(name: PhaseName) -> dict:
        is_seen = max(parts[name]) > LEAST_SEEN * longest
        label = words.translate(f"phase.{name}") if is_seen else None
        return {"label": label, **hatched(PHASE_COLOURS[name], name in BETWEEN_DEVICES)}

    ends = draw_stack(axes, parts, look)
    for height, (step, end) in enumerate(zip(steps, ends, strict=True)):
        if any(check.id == "profile" and check.has_failed for check in pooled_checks(rows[height])):
            axes.barh(height, end, left=0, color=CARD, alpha=0.65)
        draw_mark(axes, step, height)
        label_end(axes, max(step, end), height, _number(step))
    figure.legend(loc="outside lower center", ncols=3, handlelength=1.4, columnspacing=1.2)
    shown = [(words.text(row.name), FORMATS["ms"](step / 1000)) for row, step in zip(rows, steps, strict=True)]
    return titled(words, "steps", figure, shown)


def draw_all_reduce(curve: AllReduce | None, words: Wording) -> Plot | None:
    """Bandwidth against message size, both logarithmic; sizes with a wrong sum have no speed."""
    times = [time for time in curve.times if time.seconds] if curve else []
    if not times:
        return None
    figure, axes = line_chart(words.translate("figure.message"), words.translate("figure.bandwidth"), grid="both")
    sizes = [time.bytes / 2**20 for time in times]
    lines = [("bus", PHASE_COLOURS["exchange"], "-", [time.bus_bandwidth_bytes_per_second / 1e9 for time in times])]
    if curve.ranks > 2:  # with two ranks both are the same
        speeds = [time.algorithm_bandwidth_bytes_per_second / 1e9 for time in times]
        lines.append(("algorithm", METHODS["single"].colour, "--", speeds))
    for kind, colour, line, speeds in lines:
        axes.loglog(sizes, speeds, line, color=colour, marker=".", markersize=7, linewidth=1.6,
                    label=words.translate(f"figure.{kind}_bandwidth"))  # fmt: skip
    _whole_decades(axes.xaxis, sizes)
    _whole_decades(axes.yaxis, [speed for *_, speeds in lines for speed in speeds])
    axes.legend()
    shown = [(FORMATS["B"](time.bytes), FORMATS["B/s"](time.bus_bandwidth_bytes_per_second))
             for time in (times[0], times[-1])]  # fmt: skip
    notes = ["all_reduce_of_two"] if curve.ranks == 2 else []
    return titled(words, "all_reduce", figure, shown, *notes, ranks=curve.ranks, backend=curve.backend)


def _whole_decades(axis, values: list[float]) -> None:
    """From one power of ten to another, labelled in plain digits, however little the values differ."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    axis.set_view_interval(10.0**low, 10.0 ** max(high, low + 1), ignore=True)
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())
