"""Figures of what moves a speed: the phases of a step, the machine's all-reduce, batches, switches and options."""

import math

from matplotlib.ticker import NullLocator

from common.analysis.comparing.crossover_batch import BatchSeries
from common.analysis.comparing.groups import Group
from common.analysis.comparing.one_change import Ladder
from common.analysis.judging.breakdown import Breakdown
from common.analysis.judging.row_checks import pooled_checks
from common.analysis.page import charts
from common.analysis.page.charts import CARD, COST_COLOURS, INK, MUTED, PHASE_COLOURS, Plot, flagged
from common.analysis.page.method_plots import MAX_BARS
from common.analysis.reading.step_profile import BETWEEN_DEVICES, PHASES
from common.analysis.sections.changes import Effect, changed
from common.formats import FORMATS, gib
from common.records import METHODS, AllReduce, PhaseName
from common.sentences import Sentences

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
MIN_LABELLED = 0.09
"""A segment below this share of the longest bar has no room for its number; that stands beside the bar's end."""


def draw_breakdowns(breakdowns: list[Breakdown], words: Sentences) -> Plot | None:
    """Bars for the same samples, in milliseconds: one device, then each method from the ideal on. Items below zero are
    not drawn; where the others are more than was lost, they are drawn in proportion to it, so that each bar ends at
    the measured step."""
    if not breakdowns:
        return None
    single, samples = breakdowns[0].row.baseline, breakdowns[0].row.record.config.global_batch_size
    alone, ideal = 1000 * single.seconds_per_sample.value * samples, 1000 * breakdowns[0].ideal.value
    totals, shares, known = [alone], [1.0], [{"ideal": alone}]  # one for each bar, in ms
    for one in breakdowns:
        scale = 1000 * samples / one.row.record.config.global_batch_size
        totals.append(one.measured.value * scale)
        items = {id: scale * max(0.0, cost.value) for id, cost in one.items.items()}
        shares.append(min(1.0, max(0.0, totals[-1] - ideal) / (sum(items.values()) or 1.0)))
        known.append(items | {"ideal": min(ideal, totals[-1])})
    drawn = [{id: length * (share if id != "ideal" else 1.0) for id, length in bar.items()}
             for bar, share in zip(known, shares, strict=True)]  # fmt: skip
    names = [words.text(single.name), *(flagged(words, one.row) for one in breakdowns)]
    unit, longest = words.translate("figure.ms_for_samples", samples=samples), max(totals)
    figure, axes = charts.bar_chart(names, unit, 1.5 * len(names) + 1.6, 1.12 * longest)

    def look(id: str) -> dict:
        edge = {"edgecolor": MUTED} if id == "residual" else {}
        label = words.translate("figure.training" if id == "ideal" else f"breakdown_item.{id}")
        is_hatched = id not in ("ideal", "smaller_batch", "slowed")
        return {"label": label, **charts.hatched(ITEM_COLOURS[id], is_hatched), **edge}

    charts.draw_stack(axes, {id: [bar.get(id, 0.0) for bar in drawn] for id in ITEM_COLOURS}, look, thickness=0.5)
    thin: dict[int, list[str]] = {}
    for height, total in enumerate(totals):
        charts.label_end(axes, total, height, FORMATS["ms"](total / 1000).number, weight="bold")
        if height:
            charts.draw_mark(axes, total, height)
            left = 0.0
            for id in filter(drawn[height].get, ITEM_COLOURS):
                length, text = drawn[height][id], FORMATS["ms"](known[height][id] / 1000).number
                if length > MIN_LABELLED * longest:
                    axes.text(left + length / 2, height - 0.3, text, ha="center", va="bottom", color=INK)
                else:
                    thin.setdefault(height, []).append(f"+{text}")
                left += length
    for height, texts in thin.items():
        charts.label_end(axes, totals[height], height + 0.3, " ".join(texts))
    axes.axvline(ideal, color=INK, linestyle="--", linewidth=1.0)
    figure.legend(loc="outside lower center", ncols=2, handlelength=1.4, columnspacing=1.2)
    shown = zip(names, (FORMATS["ms"](total / 1000) for total in totals), strict=True)
    notes = [*(["breakdown_thin"] if thin else []), *(["breakdown_shares"] if min(shares) < 1 else [])]
    return charts.titled(words, "breakdown", figure, shown, *notes, samples=samples)


def draw_steps(group: Group, words: Sentences) -> Plot | None:
    """One stacked bar for each row that was profiled: the phases of its slowest rank, in the order of a step."""
    rows = [row for row in group.main_rows if row.profile][:MAX_BARS]
    if not rows:
        return None
    ranks = [row.profile.slowest for row in rows]
    steps = [1000 * rank.step.value for rank in ranks]
    parts = {name: [1000 * rank.phases[name].value if name in rank.phases else 0.0 for rank in ranks]
             for name in PHASES}  # fmt: skip
    longest, names = max(steps), [flagged(words, row) for row in rows]
    figure, axes = charts.bar_chart(names, words.translate("figure.ms_a_step"), 1.1 * len(rows) + 1.6, 1.2 * longest)

    def look(name: PhaseName) -> dict:
        is_seen = max(parts[name]) > 0.01 * longest  # below that a phase is narrower than its own edge
        label = words.translate(f"phase.{name}") if is_seen else None
        return {"label": label, **charts.hatched(PHASE_COLOURS[name], name in BETWEEN_DEVICES)}

    ends = charts.draw_stack(axes, parts, look)
    for height, (row, step, end) in enumerate(zip(rows, steps, ends, strict=True)):
        if any(check.id == "profile" and check.has_failed for check in pooled_checks(row)):
            axes.barh(height, end, left=0, color=CARD, alpha=0.65)
        charts.draw_mark(axes, step, height)
        charts.label_end(axes, max(step, end), height, FORMATS["ms"](step / 1000).number)
    figure.legend(loc="outside lower center", ncols=3, handlelength=1.4, columnspacing=1.2)
    shown = [(words.text(row.name), FORMATS["ms"](step / 1000)) for row, step in zip(rows, steps, strict=True)]
    return charts.titled(words, "steps", figure, shown)


def draw_all_reduce(curve: AllReduce | None, words: Sentences) -> Plot | None:
    """Bandwidth against message size, both logarithmic; sizes with a wrong sum have no speed."""
    times = [time for time in curve.times if time.seconds] if curve else []
    if not times:
        return None
    figure, axes = charts.chart(words.translate("figure.message"), words.translate("figure.bandwidth"), grid="both")
    sizes = [time.bytes / 2**20 for time in times]
    lines = [("bus", PHASE_COLOURS["exchange"], "-", [time.bus_bandwidth_bytes_per_second / 1e9 for time in times])]
    if curve.ranks > 2:  # with two ranks both are the same
        speeds = [time.algorithm_bandwidth_bytes_per_second / 1e9 for time in times]
        lines.append(("algorithm", METHODS["single"].colour, "--", speeds))
    for kind, colour, line, speeds in lines:
        axes.loglog(sizes, speeds, line, color=colour, marker=".", markersize=7, linewidth=1.6,
                    label=words.translate(f"figure.{kind}_bandwidth"))  # fmt: skip
    # From one power of ten to another, labelled in plain digits, however little the values differ.
    for axis, values in ((axes.xaxis, sizes), (axes.yaxis, [speed for *_, speeds in lines for speed in speeds])):
        low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
        axis.set_view_interval(10.0**low, 10.0 ** max(high, low + 1), ignore=True)
        axis.set_major_formatter("{x:g}")
        axis.set_minor_locator(NullLocator())
    axes.legend()
    shown = [(FORMATS["B"](time.bytes), FORMATS["B/s"](time.bus_bandwidth_bytes_per_second))
             for time in (times[0], times[-1])]  # fmt: skip
    notes = ["all_reduce_of_two"] if curve.ranks == 2 else []
    return charts.titled(words, "all_reduce", figure, shown, *notes, ranks=curve.ranks, backend=curve.backend)


def draw_options(effects: list[Effect], words: Sentences) -> Plot | None:
    """Throughput over that of the default options, with its interval; a line at 1, where an option does nothing."""
    effects = [effect for effect in effects if effect.quotient][:MAX_BARS]
    if not effects:
        return None
    several = len({effect.row.default_options_row for effect in effects}) > 1
    names = [flagged(words, effect.row, name=None if several else effect.row.name.options) for effect in effects]
    lines = [name.replace(" --", "\n--") for name in names]
    figure, axes = charts.bar_chart(lines, words.translate("figure.times_defaults"), len(names))
    ratios, colour = [effect.quotient for effect in effects], METHODS["ddp"].colour
    axes.axvline(1, color=INK, linewidth=1)
    axes.plot([ratio.value for ratio in ratios], range(len(ratios)), "o", color=colour, markersize=5)
    charts.draw_intervals(axes, dict(enumerate(ratios)), colour)
    values = [words.number("×", ratio.value) for ratio in ratios]
    return charts.titled(words, "options", figure, zip(names, values, strict=True))


def draw_batches(series: BatchSeries, words: Sentences) -> list[Plot]:
    """Throughput per device, and speed-up with the predicted crossing, both against the batch per device."""
    form = next(row.rate_form for rows in series.rows.values() for row in rows.values())
    speeds = {method: {batch: row.rate.scaled(1 / row.devices) for batch, row in rows.items()}
              for method, rows in series.rows.items()}  # fmt: skip
    ratios = {method: series.ratios(method, "single") for method in series.rows if METHODS[method].is_parallel}
    crossing = series.predicted.batch if series.predicted else 0.0
    batches, plots = series.batches, []
    for name, id, unit, lines in (("throughput", "per_device", form, speeds), ("speed_up", "speed_up", "×", ratios)):
        y_label = words.translate(f"figure.{id}", unit=words.unit(unit))
        figure, axes = charts.chart(words.translate("figure.per_device_batch"), y_label)
        if lines is ratios:
            axes.axhline(1, color=INK, linewidth=1)
        shown = []
        for method, values in lines.items():
            label = words.translate(f"short.{method}")
            if values:
                charts.draw_line(axes, values, method, label)
            shown += [(f"{label} {batch}:", words.number(unit, value.value)) for batch, value in values.items()]
        if lines is ratios and crossing and batches[0] <= crossing <= batches[-1]:
            label = words.translate("figure.predicted_crossing")
            axes.axvline(crossing, color=METHODS["dp"].colour, linestyle=":", label=label)
        axes.set_xscale("log", base=2)
        axes.set_xticks(batches, list(map(str, batches)))
        axes.minorticks_off()
        axes.set_ylim(bottom=0)
        axes.legend()
        plots.append(charts.titled(words, f"batches_{name}", figure, shown))
    return plots


def draw_ladder(ladder: Ladder | None, words: Sentences) -> Plot | None:
    """Throughput of each trial, memory beside it; a trial that was dropped is pale and hatched."""
    if ladder is None:
        return None
    bars = [(ladder.first, words.translate("ladder.start"), "kept")]
    bars += [(trial.row, words.text(changed(trial.fact, trial.values)), trial.outcome)
             for trial in ladder.trials if trial.row]  # fmt: skip
    lines = [name.replace(": ", ":\n", 1) + ("" if outcome == "kept" else f"\n{words.translate(f'rung.{outcome}')}")
             for _, name, outcome in bars]  # fmt: skip
    speeds, form, colour = [row.rate for row, *_ in bars], ladder.first.rate_form, METHODS["ddp"].colour
    unit, longest = words.translate("figure.more_is_better", unit=words.unit(form)), max(one.value for one in speeds)
    figure, axes = charts.bar_chart(lines, unit, 1.15 * len(bars), 1.25 * longest)
    fills = [{"facecolor": colour} if outcome == "kept" else {"facecolor": CARD, "hatch": "////"}
             for *_, outcome in bars]  # fmt: skip
    charts.draw_bars(axes, speeds, [fill | {"edgecolor": colour} for fill in fills])
    for height, (row, *_) in enumerate(bars):
        charts.label_end(axes, row.rate.bounds[1], height, gib(row.memory[0].peak_bytes) if row.memory else "")
    shown = [(name, words.number(form, row.rate.value)) for row, name, _ in bars]
    return charts.titled(words, "ladder", figure, shown)
