"""Figures of whole campaigns: what a larger batch does, and what each trial of the ladder does."""

from __future__ import annotations

from collections.abc import Mapping

from common.analysis.comparing.ladder_trials import Ladder
from common.analysis.comparing.rows import Row
from common.analysis.page.charts import bar_chart, draw_bars, draw_line, label_end, line_chart, titled
from common.analysis.page.drawing import CARD, INK, Plot
from common.analysis.page.wording import Wording
from common.analysis.sections.crossover import Crossover
from common.analysis.sections.ladder import outcome_of, what
from common.analysis.statistics.estimates import Estimate
from common.formats import gib
from common.records import METHODS, Method


def draw_batches(crossover: Crossover, words: Wording) -> list[Plot]:
    """Throughput per device, and speed-up with the predicted crossing, both against the batch per device."""
    series = crossover.series
    speeds = {method: {batch: row.rate.scaled(1 / row.devices) for batch, row in rows.items()}
              for method, rows in series.rows.items()}  # fmt: skip
    ratios = {method: series.ratios(method, "single") for method in series.rows if METHODS[method].is_parallel}
    rate_form = next(row.rate_form for rows in series.rows.values() for row in rows.values())
    crossing = crossover.predicted.batch if crossover.predicted else None
    return [
        _over_batches("batches_throughput", "figure.per_device", rate_form, speeds, series.batches, words),
        _over_batches("batches_speed_up", "figure.speed_up", "×", ratios, series.batches, words, crossing),
    ]


def _over_batches(
    name: str,
    unit: str,
    form: str,
    lines: Mapping[Method, Mapping[int, Estimate]],
    batches: list[int],
    words: Wording,
    crossing: float | None = None,
) -> Plot:
    """A line for each method."""
    figure, axes = line_chart(words.translate("figure.per_device_batch"), words.translate(unit, unit=words.unit(form)))
    if form == "×":
        axes.axhline(1, color=INK, linewidth=1)
    shown = []
    for method, values in lines.items():
        label = words.translate(f"short.{method}")
        if values:
            draw_line(axes, values, method, label)
        shown += [(f"{label} {batch}:", words.number(form, value.value)) for batch, value in values.items()]
    if crossing and batches[0] <= crossing <= batches[-1]:
        label = words.translate("figure.predicted_crossing")
        axes.axvline(crossing, color=METHODS["dp"].colour, linestyle=":", label=label)
    axes.set_xscale("log", base=2)
    axes.set_xticks(batches, [str(batch) for batch in batches])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.legend()
    return titled(words, name, figure, shown)


def draw_ladder(ladder: Ladder | None, words: Wording) -> Plot | None:
    """Throughput of each trial, memory beside it; a trial that was dropped is pale and hatched."""
    if ladder is None:
        return None
    trials = [(trial.row, words.text(what(trial)), outcome_of(trial)) for trial in ladder.trials if trial.row]
    bars: list[tuple[Row, str, str]] = [(ladder.first, words.translate("ladder.start"), "kept"), *trials]
    names = [
        name if outcome == "kept" else f"{name}\n{words.translate(f'rung.{outcome}')}" for _, name, outcome in bars
    ]
    speeds, form = [row.rate for row, *_ in bars], ladder.first.rate_form
    right = 1.25 * max(speed.value for speed in speeds)
    lines = [name.replace(": ", ":\n", 1) for name in names]
    figure, axes = bar_chart(
        lines, words.translate("figure.more_is_better", unit=words.unit(form)), 1.15 * len(bars), right
    )
    kept, dropped = {"facecolor": METHODS["ddp"].colour}, {"facecolor": CARD, "hatch": "////"}
    looks = [{"edgecolor": METHODS["ddp"].colour, **(kept if outcome == "kept" else dropped)} for *_, outcome in bars]
    draw_bars(axes, speeds, looks)
    for height, (row, *_) in enumerate(bars):
        label_end(axes, row.rate.bounds[1], height, gib(row.memory[0].peak_bytes) if row.memory else "")
    shown = [(name, words.number(form, row.rate.value)) for row, name, _ in bars]
    return titled(words, "ladder", figure, shown)
