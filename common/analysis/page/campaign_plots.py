"""Figures of whole campaigns: what a larger batch does, and what each rung of the ladder does."""

from __future__ import annotations

from collections.abc import Callable

from common.analysis.comparing.rows import Row
from common.analysis.judging.catching_up import CatchingUp
from common.analysis.judging.climb import Climb, outcome_of, what
from common.analysis.page.charts import bar_chart, draw_bars, draw_line, label_end, line_chart, titled
from common.analysis.page.drawing import CARD, INK, Plot
from common.analysis.page.wording import Wording
from common.analysis.statistics.estimates import Estimate
from common.formats import gib
from common.records import METHODS, Method


def draw_batches(found: CatchingUp, words: Wording) -> list[Plot]:
    """Throughput per device, and speed-up with the predicted crossing, both against the batch per device."""
    return [_over_batches("throughput", found, words), _over_batches("speed_up", found, words)]


def _over_batches(name: str, found: CatchingUp, words: Wording) -> Plot:
    series = found.series
    kinds: dict[str, tuple[str, str, Callable[[Method], dict[int, Estimate]]]] = {
        "throughput": ("figure.per_device", "samples/s", lambda method: {
            batch: row.throughput.times(1 / row.devices) for batch, row in series.rows[method].items()
        }),
        "speed_up": ("figure.speed_up", "×", lambda method: series.ratios(method, "single")),
    }  # fmt: skip
    unit, form, values_of = kinds[name]
    figure, axes = line_chart(words.say("figure.per_device_batch"), words.say(unit))
    shown = []
    for method in series.rows:
        if name == "speed_up" and not METHODS[method].is_parallel:
            continue
        label, values = words.say(f"short.{method}"), values_of(method)
        if values:
            draw_line(axes, values, method, label)
        shown += [(f"{label} {batch}:", words.written(form, value.value)) for batch, value in values.items()]
    if name == "speed_up":
        axes.axhline(1, color=INK, linewidth=1)
        predicted = found.predicted.batch if found.predicted else 0
        if series.batches[0] <= predicted <= series.batches[-1]:
            axes.axvline(
                predicted, color=METHODS["dp"].colour, linestyle=":", label=words.say("figure.predicted_crossing")
            )
    axes.set_xscale("log", base=2)
    axes.set_xticks(series.batches, [str(batch) for batch in series.batches])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.legend()
    return titled(words, f"batches_{name}", figure, shown)


def draw_ladder(found: Climb | None, words: Wording) -> Plot | None:
    """Throughput of each rung, memory beside it; a rung that was dropped is pale and hatched."""
    if found is None:
        return None
    rungs = [(rung.row, words.text(what(rung)), outcome_of(rung)) for rung in found.ladder.rungs if rung.row]
    bars: list[tuple[Row, str, str]] = [(found.ladder.first, words.say("ladder.start"), "kept"), *rungs]
    names = [name if outcome == "kept" else f"{name}\n{words.say(f'rung.{outcome}')}" for _, name, outcome in bars]
    speeds = [row.throughput for row, *_ in bars]
    right = 1.25 * max(speed.value for speed in speeds)
    lines = [name.replace(": ", ":\n", 1) for name in names]
    figure, axes = bar_chart(lines, words.say("figure.more_is_better"), 1.15 * len(bars), right)
    kept, dropped = {"facecolor": METHODS["ddp"].colour}, {"facecolor": CARD, "hatch": "////"}
    looks = [{"edgecolor": METHODS["ddp"].colour, **(kept if outcome == "kept" else dropped)} for *_, outcome in bars]
    draw_bars(axes, speeds, looks)
    for height, (row, *_) in enumerate(bars):
        label_end(axes, row.throughput.bounds[1], height, gib(row.memory[0].peak_bytes) if row.memory else "")
    shown = [(name, words.written("samples/s", row.throughput.value)) for row, name, _ in bars]
    return titled(words, "ladder", figure, shown)
