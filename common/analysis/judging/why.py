"""Why the methods differ, in sentences: the phase that tells them apart, the price of the exchange, of the wrapper."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from common.analysis.comparing.contenders import contenders
from common.analysis.comparing.groups import Group, Row
from common.analysis.comparing.step_anatomy import PHASES
from common.analysis.judging.verdict import span
from common.analysis.statistics.medians import FEWEST_VALUES, Median
from common.formats import milliseconds, percent, scaled
from common.records import PhaseName

DOING: dict[PhaseName, str] = {
    "data wait": "waiting for data",
    "copy": "copying the batch to its device",
    "scatter": "dealing the batch out to its replicas",
    "replicate": "copying the model to its replicas",
    "forward": "in the forward pass",
    "gather": "collecting the outputs on device 0",
    "loss": "computing the loss",
    "backward": "in the backward pass",
    "reduce": "adding up the gradients on device 0",
    "exchange": "waiting for gradients when its own backward is done",
    "optimizer": "updating the weights",
}


def reasons(group: Group) -> list[str]:
    """What the anatomy of the contenders' steps says, the largest difference first; nothing without anatomies."""
    rows = {row.method: row for row in contenders(group.rows) if row.anatomy}
    found = []
    one, other = rows.get("dp") or rows.get("ddp"), rows.get("ddp") if "dp" in rows else None
    if one and (other := other or rows.get("single")):
        found.append(largest_difference(one, other))
    found += filter(None, (exposed_in_words(row) for row in rows.values()))
    return found


def largest_difference(one: Row, other: Row) -> str:
    """The phase in which two rows differ most, with its number; differences within the steps' scatter do not count."""
    first, second = one.anatomy.slowest.phases, other.anatomy.slowest.phases
    gaps = {
        name: (first[name].value if name in first else 0.0) - (second[name].value if name in second else 0.0)
        for name in PHASES
        if name in first or name in second
    }
    certain = [name for name in gaps if _differ(first.get(name), second.get(name))]
    if not certain:
        steps = min(row.anatomy.slowest.step.count for row in (one, other))
        if steps < FEWEST_VALUES:
            return f"{steps} steps taken apart are too few to tell in which phase {one.label} and {other.label} differ."
        return f"No phase of {one.label} and {other.label} differs by more than its scatter over {steps} steps."
    name = max(certain, key=lambda phase: abs(gaps[phase]))
    more, less = (one, other) if gaps[name] > 0 else (other, one)
    spent = less.anatomy.slowest.phases.get(name)
    there = f"{milliseconds(spent.value)}" if spent else "nothing"
    seconds = milliseconds(more.anatomy.slowest.phases[name].value)
    return f"{more.label} spends {seconds} a step {DOING[name]}{_moved(more, name)}; {less.label} {there}."


def _differ(one: Median | None, other: Median | None) -> bool:
    if one is None or other is None:
        return (one or other).is_above_zero
    return one.is_apart_from(other)


def _moved(row: Row, name: PhaseName) -> str:
    """` (46.8 MB, 3.00 GB/s)`."""
    size, rate = row.anatomy.bytes_moved.get(name), rate_of(row, name)
    told = [scaled(size, "B")] if size else []
    if rate:
        told.append(scaled(rate, "B/s"))
    return f" ({', '.join(told)})" if told else ""


def rate_of(row: Row, name: PhaseName) -> float | None:
    """Bytes that a phase moves / its seconds.

    None for DDP's exchange, most of which ran beside the backward pass, and where replicas share a device, for then
    nothing moves between devices.
    """
    size, phase = row.anatomy.bytes_moved.get(name), row.anatomy.slowest.phases.get(name)
    if not size or phase is None or not phase.value or name == "exchange" or row.record.world.shared:
        return None
    return size / phase.value


def exposed_in_words(row: Row) -> str:
    """What moving data between devices adds to a row's step, and under DDP what overlap saves."""
    exposed, gain = row.anatomy.exposed, row.anatomy.overlap_gain
    if row.devices == 1 or exposed is None:
        return ""
    what = "The exchange of gradients" if row.method == "ddp" else "Moving model, batch and gradients between devices"
    share = percent(row.anatomy.exposed_share)
    told = f"{what} adds {milliseconds(exposed.value)} ({share}) to a step of {row.label} ({interval_text(exposed)})"
    if exposed.interval and not exposed.is_above_zero:
        told = f"{what} adds nothing that shows to a step of {row.label} ({interval_text(exposed)})"
    if gain is None:
        return f"{told}."
    saved = "whether overlap with the backward pass saves time cannot be told"
    if gain.is_above_zero:
        saved = f"overlap with the backward pass saves {milliseconds(gain.value)}"
    elif gain.is_below_zero:
        gain = gain.negated()
        saved = f"one bucket for all gradients would be {milliseconds(gain.value)} quicker"
    return f"{told}; {saved} ({interval_text(gain)})."


def interval_text(median: Median) -> str:
    """`1.2 ms to 3.4 ms, 96.9 %, 6 steps`; or why there is no interval."""
    if median.interval is None:
        return f"no interval: {median.count} of the {FEWEST_VALUES} steps that it takes"
    low, high = map(milliseconds, median.interval)
    return f"{low} to {high}, {percent(median.coverage, 1)}, {median.count} steps"


@dataclass(frozen=True)
class WrapperPrice:
    """What DP and DDP cost on a single device, where they have nothing to gain."""

    lines: list[str]
    commands: list[str]
    """What produces the missing lines; empty where nothing is missing."""


def wrapper_price(group: Group) -> WrapperPrice:
    """Every wrapped row on one device against plain training of the same group."""
    rows = [row for row in group.main_rows if row.devices == 1 and row.method != "single" and row.speed_up]
    lines = [_price(row) for row in rows]
    return WrapperPrice(lines, [] if {"dp", "ddp"} <= {row.method for row in rows} else list(_commands(group)))


def _price(row: Row) -> str:
    longer = row.speed_up.inverse()
    certainty = f"95 % interval {span(longer)}" if longer.interval else "no interval: too few steps"
    return f"{row.label}: a step takes {longer.value:.2f} times as long as without the wrapper ({certainty})."


def _commands(group: Group) -> Iterator[str]:
    """02, 03 and 04 on one device, so that their records land in this very group."""
    config = group.rows[0].record.config
    sizes = {
        "--model": config.model,
        "--batch-size": config.per_device_batch_size,
        "--epochs": config.epochs,
        "--samples-per-epoch": config.samples_per_epoch,
        "--image-size": config.image_size,
        "--num-classes": config.num_classes,
        "--precision": config.precision,
    }
    if config.accumulation_steps > 1:
        sizes["--accumulation-steps"] = config.accumulation_steps
    if config.data_dir:
        sizes["--data-dir"] = config.data_dir
    switches = {
        "--channels-last": config.memory_format == "channels_last",
        "--compile": config.compile,
        "--deterministic": config.deterministic,
    }
    words = [str(part) for pair in sizes.items() for part in pair] + [flag for flag, on in switches.items() if on]
    options = shlex.join(words)
    yield f"python 02_baseline_single_gpu.py {options}"
    if not config.compile:  # step 03 has no --compile
        yield f"python 03_dataparallel_training.py {options} --gpus 0"
    yield f"torchrun --standalone --nproc_per_node=1 04_ddp_training.py {options}"
