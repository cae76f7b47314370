"""Figures over batches: what one device of each method trains in a second, and the speed-up over one device."""

from __future__ import annotations

import matplotlib as mpl
from matplotlib.axes import Axes

from common.analysis.judging.catching_up import CatchingUp
from common.analysis.page.drawing import INK, MUTED, STYLE, Plot, new_figure
from common.analysis.page.plots import reach, titled
from common.analysis.page.wording import Wording
from common.analysis.statistics.estimates import Estimate
from common.records import METHODS, Method


def draw_batches(found: CatchingUp, words: Wording) -> list[Plot]:
    """Throughput per device, and speed-up with the predicted crossing, both against the batch per device."""
    series = found.series
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(5.5)
        said: list[str] = []
        for method, rows in series.rows.items():
            speeds = {batch: row.throughput.scaled(1 / row.devices) for batch, row in rows.items()}
            said += _line(axes, method, speeds, words, "samples/s")
        _finish(axes, series.batches, words.say("figure.per_device"), words)
        plots = [titled("batches_throughput", figure, words, alt="; ".join(said))]
        figure, axes = new_figure(5.5)
        axes.axhline(1, color=INK, linewidth=1)
        said = []
        for method in filter(lambda name: METHODS[name].is_parallel, series.rows):
            said += _line(axes, method, series.ratios(method, "single"), words, "×")
        predicted = found.predicted.batch if found.predicted else 0
        if series.batches[0] <= predicted <= series.batches[-1]:
            label = words.say("figure.predicted_crossing")
            axes.axvline(predicted, color=METHODS["dp"].colour, linestyle=":", label=label)
        _finish(axes, series.batches, words.say("figure.speed_up"), words)
        plots.append(titled("batches_speed_up", figure, words, alt="; ".join(said)))
    return plots


def _line(axes: Axes, method: Method, values: dict[int, Estimate], words: Wording, form: str) -> list[str]:
    """Draws a line; returns what it shows as text."""
    if not values:
        return []
    axes.errorbar(list(values), [value.value for value in values.values()], yerr=reach(values.values()),
                  color=METHODS[method].colour, marker=METHODS[method].marker, markersize=4.5, capsize=3, linewidth=1.6,
                  label=words.say(f"short.{method}"))  # fmt: skip
    return [
        f"{words.say(f'short.{method}')} {batch}: {words.written(form, value.value)}" for batch, value in values.items()
    ]


def _finish(axes: Axes, batches: list[int], unit: str, words: Wording) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks(batches, [str(batch) for batch in batches])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set_xlabel(words.say("figure.per_device_batch"))
    axes.set_ylabel(unit)
    axes.grid(axis="y", color=MUTED, linewidth=0.6, alpha=0.5)
    axes.legend()
