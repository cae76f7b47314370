"""Figures that compare: a group's methods, DDP's options, batches, and the trials of the ladder."""

from collections.abc import Mapping
from math import nan
from typing import get_args

from matplotlib.patches import Patch

from common.analysis.comparing.crossover_batch import BatchSeries
from common.analysis.comparing.device_use import StaticPart
from common.analysis.comparing.groups import Group
from common.analysis.comparing.one_change import Ladder
from common.analysis.comparing.rows import Row
from common.analysis.page.charts import (
    CARD,
    INK,
    Plot,
    bar_chart,
    colour_of,
    draw_bars,
    draw_intervals,
    draw_line,
    draw_stack,
    label_end,
    line_chart,
    titled,
)
from common.analysis.page.wording import Wording, flagged
from common.analysis.sections.changes import Effect, changed
from common.analysis.statistics.estimates import Estimate
from common.formats import FORMATS, gib, number
from common.records import METHODS, Method

MAX_BARS, MAX_POINTS, MAX_DEVICES = 24, 60, 8
"""More than these make a figure unreadable (and a page of ten thousand runs endless)."""
MIN_EPOCHS = 3
"""Two points make no curve."""
STATIC_SHADES: dict[str, float] = {"parameters_and_buffers": 1.0, "gradients": 0.72, "optimizer_state": 0.5}
REST_SHADE = 0.22


def draw_throughput(group: Group, words: Wording) -> Plot | None:
    """What each valid row trains a second, in what its model counts."""
    rows = [row for row in group.main_rows if row.is_valid][:MAX_BARS]
    if not rows:
        return None
    speeds, form = [row.rate for row in rows], rows[0].rate_form
    right = 1.22 * max(speed.bounds[1] for speed in speeds)
    names = [flagged(words, row) for row in rows]
    figure, axes = bar_chart(names, words.translate("figure.more_is_better", unit=words.unit(form)), len(rows), right)
    draw_bars(axes, speeds, map(colour_of, rows),
              [[row.seconds_per_sample.value / run.seconds_per_sample.value * row.rate.value
                for run in row.runs[-MAX_POINTS:]] for row in rows])  # fmt: skip
    for height, speed in enumerate(speeds):
        label_end(axes, speed.bounds[1], height, FORMATS[form](speed.value).number)
    values = [words.number(form, speed.value) for speed in speeds]
    return titled(words, "throughput", figure, zip(words.lines(row.name for row in rows), values, strict=True))


def draw_memory(group: Group, words: Wording) -> Plot | None:
    """Peak memory of every device, its static part apart from the rest."""
    bars = [(row, peak) for row in group.main_rows for peak in row.memory[:MAX_DEVICES]][: 2 * MAX_BARS]
    if not bars:
        return None
    kind = "_gpu" if group.on_gpu else "_cpu"
    ids = {"device": "name.device", "rank": "name.rank_of"}
    names = [words.translate(ids[peak.kind], row=row.name, number=peak.number) if row.devices > 1
             else words.text(row.name) for row, peak in bars]  # fmt: skip
    peaks = [peak.peak_bytes / 2**30 for _, peak in bars]
    figure, axes = bar_chart(names, words.translate("figure.gib"), 0.7 * len(bars) + 1.5, 1.22 * max(peaks))
    shades: dict[str, float] = STATIC_SHADES | {f"rest{kind}": REST_SHADE}
    parts: dict[str, list[float]] = {
        part: [peak.static.get(part, 0) / 2**30 for _, peak in bars] for part in get_args(StaticPart)
    }
    parts[f"rest{kind}"] = [max(0.0, peak - sum(sizes)) for peak, *sizes in zip(peaks, *parts.values(), strict=True)]
    colours = [METHODS[row.method].colour for row, _ in bars]
    draw_stack(axes, parts, lambda part: {"color": colours, "alpha": shades[part]})
    for height, peak in enumerate(peaks):
        label_end(axes, peak, height, number(peak))
    keys = [
        Patch(color=INK, alpha=shade, lw=0, label=words.translate(f"figure.{part}")) for part, shade in shades.items()
    ]
    figure.legend(handles=keys, loc="outside lower center", ncols=2)
    sizes = [FORMATS["GiB"](peak.peak_bytes) for _, peak in bars]
    return titled(words, "memory", figure, zip(names, sizes, strict=True), kind=kind)


def draw_loss(group: Group, words: Wording) -> Plot | None:
    """Mean loss of each epoch."""
    rows = [row for row in group.main_rows if len(row.record.epochs) >= MIN_EPOCHS][:MAX_BARS]
    if not rows:
        return None
    figure, axes = line_chart(words.translate("figure.epoch"), words.translate("figure.mean_loss"))
    for row in rows:
        epochs = row.record.epochs
        losses = [nan if epoch.mean_loss is None else epoch.mean_loss for epoch in epochs]
        axes.plot([epoch.epoch for epoch in epochs], losses, color=METHODS[row.method].colour, markersize=5,
                  marker=METHODS[row.method].marker, linestyle="-" if row.is_valid else ":",
                  label=words.text(row.name))  # fmt: skip
    axes.locator_params(axis="x", integer=True)
    if len(rows) <= 8:
        axes.legend()
    return titled(words, "loss", figure, [], *(["loss_of_parts"] if _normalise_other_parts(rows) else []))


def _normalise_other_parts(rows: list[Row]) -> bool:
    """Whether DP and DDP train the same global batch here, but BatchNorm sees other parts of it: DP deals it out in
    blocks, DDP's rank r has every n-th sample. A model with buffers is taken to have BatchNorm; those of tokens have
    none."""
    batches = set()
    for row in rows:
        config, memory = row.record.config, row.record.static_memory
        has_batch_norm = memory is not None and memory.buffer_bytes > 0 and config.unit != "tokens"
        if row.devices > 1 and has_batch_norm and not (config.ddp and config.ddp.sync_bn):
            batches.add((row.method, config.global_batch_size))
    return any(("dp", batch) in batches for method, batch in batches if method == "ddp")


def draw_options(effects: list[Effect], words: Wording) -> Plot | None:
    """Throughput over that of the default options, with its interval; a line at 1, where an option does nothing."""
    effects = [effect for effect in effects if effect.quotient][:MAX_BARS]
    if not effects:
        return None
    several = len({effect.row.default_options_row for effect in effects}) > 1
    names = [flagged(words, effect.row, name=None if several else effect.row.name.options) for effect in effects]
    ratios = [effect.quotient for effect in effects]
    lines = [name.replace(" --", "\n--") for name in names]
    figure, axes = bar_chart(lines, words.translate("figure.times_defaults"), len(names))
    axes.axvline(1, color=INK, linewidth=1)
    axes.plot([ratio.value for ratio in ratios], range(len(ratios)), "o", color=METHODS["ddp"].colour, markersize=5)
    draw_intervals(axes, dict(enumerate(ratios)), METHODS["ddp"].colour)
    values = [words.number("×", ratio.value) for ratio in ratios]
    return titled(words, "options", figure, zip(names, values, strict=True))


def draw_batches(series: BatchSeries, words: Wording) -> list[Plot]:
    """Throughput per device, and speed-up with the predicted crossing, both against the batch per device."""
    speeds = {method: {batch: row.rate.scaled(1 / row.devices) for batch, row in rows.items()}
              for method, rows in series.rows.items()}  # fmt: skip
    ratios = {method: series.ratios(method, "single") for method in series.rows if METHODS[method].is_parallel}
    rate_form = next(row.rate_form for rows in series.rows.values() for row in rows.values())
    crossing = series.predicted.batch if series.predicted else None
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
    bars = [(ladder.first, words.translate("ladder.start"), "kept")]
    bars += [(trial.row, words.text(changed(trial.fact, trial.values)), trial.outcome)
             for trial in ladder.trials if trial.row]  # fmt: skip
    lines = [name.replace(": ", ":\n", 1) + ("" if outcome == "kept" else f"\n{words.translate(f'rung.{outcome}')}")
             for _, name, outcome in bars]  # fmt: skip
    speeds, form = [row.rate for row, *_ in bars], ladder.first.rate_form
    unit, longest = words.translate("figure.more_is_better", unit=words.unit(form)), max(one.value for one in speeds)
    figure, axes = bar_chart(lines, unit, 1.15 * len(bars), 1.25 * longest)
    colour = METHODS["ddp"].colour
    kept, dropped = {"facecolor": colour}, {"facecolor": CARD, "hatch": "////"}
    draw_bars(axes, speeds, [{"edgecolor": colour, **(kept if outcome == "kept" else dropped)} for *_, outcome in bars])
    for height, (row, *_) in enumerate(bars):
        label_end(axes, row.rate.bounds[1], height, gib(row.memory[0].peak_bytes) if row.memory else "")
    shown = [(name, words.number(form, row.rate.value)) for row, name, _ in bars]
    return titled(words, "ladder", figure, shown)
