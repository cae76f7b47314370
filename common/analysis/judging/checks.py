"""What must hold before a number is believed: every self-check of one run, with its outcome and its reason.

Each check is a small function that answers one question from the record alone. `CHECKS` lists them with the number that
a failure spoils, so that the page can put the warning beside that number. What the table calls a warning does not make
a number wrong; it says what else the number may have measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from common.analysis.judging import history_checks, machine_checks
from common.analysis.judging.machine_checks import Answer, Outcome
from common.analysis.statistics.estimates import student_quantile
from common.formats import percent
from common.records import Record, epoch_seconds, step_seconds, throughput

Number = Literal["speed", "memory"]

CLOCK_TOLERANCE = 0.01
DATA_WAIT_LIMIT = 0.05
WARM_UP_LIMIT = 0.05
FEWEST_STEPS = 10


@dataclass(frozen=True)
class Check:
    """One answered question about one run (or one row of the table)."""

    name: str
    outcome: Outcome
    reason: str
    spoils: Number = "speed"

    @property
    def is_trouble(self) -> bool:
        """Whether it must stand beside the number that it spoils."""
        return self.outcome in ("failed", "warning")


def check_run(record: Record) -> list[Check]:
    """Every self-check of one run that finished at least one epoch."""
    return [Check(name, *question(record), spoils) for name, question, spoils in CHECKS]


def _parity(record: Record) -> Answer:
    parity = record.parity
    if parity is None:
        return ("not applicable", "one device") if record.method == "single" else ("not measured", "no parity check")
    if parity.outcome == "not applicable":
        return "not applicable", parity.note or "one device: nothing to compare"
    error = "not finite" if parity.max_relative_error is None else f"{parity.max_relative_error:.1e}"
    told = f"largest relative error of a gradient {error}, tolerance {parity.tolerance or 0:.0e}"
    if parity.outcome == "failed":
        return "failed", f"{told}, at {parity.worst_parameter}: this run did not train what one device trains"
    return "passed", told + (f"; {parity.note}" if parity.note else "")


def _same_work(record: Record) -> Answer:
    for position, epoch in enumerate(record.epochs):
        seen = sum(rank.samples[position] for rank in record.ranks)
        if seen != epoch.samples:
            return "failed", f"epoch {epoch.epoch}: the ranks consumed {seen:,} samples, not {epoch.samples:,}"
        checksum = sum(int(rank.checksums[position], 16) for rank in record.ranks) % 2**64
        if checksum != int(epoch.expected_checksum, 16):
            return "failed", f"epoch {epoch.epoch}: some samples were seen twice and others not at all"
    counts = " or ".join(f"{count:,}" for count in dict.fromkeys(epoch.samples for epoch in record.epochs))
    return "passed", f"every rank's samples add up to the epoch's {counts}, each seen once"


def _arithmetic(record: Record) -> Answer:
    """Throughput × time against the samples that the steps must have held: global batch × steps.

    Where a step is split into micro-batches, the last one of an epoch holds those that are left, and no others.
    """
    config, steps = record.config, sum(epoch.steps for epoch in record.epochs)
    missing = -(config.samples_per_epoch // config.micro_batch_size) % config.accumulation_steps
    shorter = missing * config.micro_batch_size
    due = [epoch.steps * config.global_batch_size - shorter for epoch in record.epochs]
    expected, product = sum(due), (throughput(record) or 0) * sum(epoch_seconds(record))
    less = f", less {shorter} in the last step of each epoch," if shorter else ""
    sizes = f"{steps:,} steps of {config.global_batch_size}{less}"
    told = f"throughput × time = {product:,.0f} samples; {sizes} = {expected:,}"
    for epoch, samples in zip(record.epochs, due, strict=True):
        if epoch.samples != samples:
            return "failed", f"{told}; epoch {epoch.epoch} held {epoch.samples:,} samples and not {samples:,}"
    return ("passed" if abs(product - expected) <= CLOCK_TOLERANCE * expected else "failed"), told


def _clock(record: Record) -> Answer:
    """The host's clock around each epoch against the sum of that epoch's steps, on every rank."""
    worst, first = 0.0, 0
    for position, epoch in enumerate(record.epochs):
        for rank in record.ranks:
            by_steps = sum(rank.step_seconds[first : first + epoch.steps])
            by_host = rank.host_epoch_seconds[position]
            worst = max(worst, abs(by_host - by_steps) / max(by_host, by_steps, 1e-12))
        first += epoch.steps
    outcome = "passed" if worst <= CLOCK_TOLERANCE else "failed"
    return (
        outcome,
        f"host clock and sum of steps differ by at most {percent(worst, 2)} (limit {percent(CLOCK_TOLERANCE)})",
    )


def _warm_up(record: Record) -> Answer:
    """Are the first tenth of the steps slower than a batch of as many later steps would be by chance (99 %)?"""
    steps = np.asarray(step_seconds(record))
    if len(steps) < FEWEST_STEPS:
        return "not measured", f"{len(steps)} steps are too few to judge (at least {FEWEST_STEPS})"
    length = len(steps) // FEWEST_STEPS
    batches = steps[: len(steps) // length * length].reshape(-1, length).mean(axis=1)
    first, rest = batches[0], batches[1:]
    noise = student_quantile(len(rest) - 1, 0.98) * rest.std(ddof=1) * (1 + 1 / len(rest)) ** 0.5
    slower = first / rest.mean() - 1 if rest.mean() > 0 else 0.0
    if first > rest.mean() + noise and slower > WARM_UP_LIMIT:
        return (
            "warning",
            f"the first {length} measured steps were {percent(slower)} slower than the rest: raise --warmup-steps",
        )
    return "passed", f"the first {length} measured steps differ from the rest by {percent(slower)}, within the noise"


def _enough_steps(record: Record) -> Answer:
    steps = sum(epoch.steps for epoch in record.epochs)
    if steps < FEWEST_STEPS:
        return "warning", f"{steps} measured steps: the interval is rough; raise --samples-per-epoch or --epochs"
    return "passed", f"{steps:,} measured steps"


def data_wait_share(record: Record) -> float:
    """Share of the measured time in which a rank waited for its loader, on the rank that waited longest."""
    return max(sum(rank.data_wait_seconds) / max(sum(rank.step_seconds), 1e-12) for rank in record.ranks)


def _data_wait(record: Record) -> Answer:
    share = data_wait_share(record)
    told = f"{percent(share, 1)} of the time went into waiting for data (limit {percent(DATA_WAIT_LIMIT)})"
    return (
        ("warning", f"{told}: your loader is what you measured; raise --workers")
        if share > DATA_WAIT_LIMIT
        else ("passed", told)
    )


def _loss(record: Record) -> Answer:
    losses = [epoch.mean_loss for epoch in record.epochs]
    if None in losses:
        return "failed", f"the loss was not finite in epoch {record.epochs[losses.index(None)].epoch}: lower --lr"
    if len(losses) > 1 and losses[-1] >= losses[0]:
        return "warning", f"the loss did not fall: {losses[0]:.3f} in the first epoch, {losses[-1]:.3f} in the last"
    return "passed", f"{losses[0]:.3f} in the first epoch, {losses[-1]:.3f} in the last"


CHECKS: list[tuple[str, Callable[[Record], Answer], Number]] = [
    ("parity", _parity, "speed"),
    ("samples seen", _same_work, "speed"),
    ("samples = throughput × time", _arithmetic, "speed"),
    ("clock", _clock, "speed"),
    ("warm-up", _warm_up, "speed"),
    ("number of steps", _enough_steps, "speed"),
    ("data wait", _data_wait, "speed"),
    ("loss", _loss, "speed"),
    ("images", history_checks.images, "speed"),
    ("start", history_checks.start, "speed"),
    ("devices", machine_checks.devices, "speed"),
    ("throttling", machine_checks.throttling, "speed"),
    ("other processes", machine_checks.other_processes, "speed"),
    ("load", machine_checks.load, "speed"),
]
