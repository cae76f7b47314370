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
    for part in record.epoch_slices:
        ends_of_ranks = zip(*(accumulate(rank.step_seconds[part]) for rank in record.ranks), strict=True)
        ends = [max(ends) for ends in ends_of_ranks]
        steps.extend(end - start for start, end in zip([0.0, *ends], ends, strict=False))
    return steps


def epoch_seconds(record: Record) -> list[float]:
    """Seconds of each measured epoch: the sum of its steps, which is the slowest rank's."""
    return [max(sum(rank.step_seconds[part]) for rank in record.ranks) for part in record.epoch_slices]


def is_steady(record: Record) -> list[bool]:
    """Of every measured step, whether it counts for speeds.

    In older records the loader started anew with each epoch, and the first step of an epoch waited for that: as long
    whatever the epoch's length, so that in a short one it says more of the length than of the method. It is left out
    where its epoch has others.
    """
    return [
        record.loader_runs_on or position > 0 or epoch.steps == 1
        for epoch in record.epochs
        for position in range(epoch.steps)
    ]


def steady_step_seconds(record: Record) -> list[float]:
    """Seconds of the steps that count for speeds, in order."""
    return [seconds for seconds, counts in zip(step_seconds(record), is_steady(record), strict=True) if counts]


def steady_samples(record: Record) -> int:
    """Samples of the steps that count for speeds: a first step has a whole global batch, whatever the last one has."""
    left_out = is_steady(record).count(False) * record.config.global_batch_size
    return sum(epoch.samples for epoch in record.epochs) - left_out


def throughput(record: Record) -> float | None:
    """Samples per second in steady state: Σ samples / Σ seconds of the steps that count.

    None before the first epoch has ended, and where the record's samples cannot be.
    """
    seconds, samples = sum(steady_step_seconds(record)), steady_samples(record)
    return samples / seconds if seconds > 0 and samples > 0 else None
