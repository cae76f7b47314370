"""Numbers that follow from a record's raw times, one function each."""

from __future__ import annotations

from itertools import accumulate

from common.records.record import Record


def step_seconds(record: Record) -> list[float]:
    """Seconds of every measured step of the whole run, in order.

    A step takes as long as its slowest rank: it ends when the last rank has ended it. The ranks of an epoch start
    together, so rank r ends step i at the sum of its first i step times, and the run's step is the difference of the
    latest ends. (The maximum of the ranks' own step times would count lateness twice whenever ranks take turns.)
    """
    steps: list[float] = []
    first = 0
    for epoch in record.epochs:
        last = first + epoch.steps
        ends = [
            max(column) for column in zip(*(accumulate(r.step_seconds[first:last]) for r in record.ranks), strict=True)
        ]
        steps.extend(end - start for start, end in zip([0.0, *ends], ends, strict=False))
        first = last
    return steps


def epoch_seconds(record: Record) -> list[float]:
    """Seconds of each measured epoch: the sum of its steps, which is the slowest rank's."""
    seconds, first = [], 0
    for epoch in record.epochs:
        seconds.append(max(sum(r.step_seconds[first : first + epoch.steps]) for r in record.ranks))
        first += epoch.steps
    return seconds


def throughput(record: Record) -> float | None:
    """Samples per second over all measured epochs: Σ samples / Σ seconds. None before the first epoch has ended."""
    seconds = sum(epoch_seconds(record))
    return sum(epoch.samples for epoch in record.epochs) / seconds if seconds > 0 else None
