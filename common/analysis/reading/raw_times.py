"""A record's raw lists, reduced to the plain numbers that the self-checks decide about. No limits here, no verdicts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from common.analysis.statistics.estimates import student_quantile
from common.analysis.statistics.medians import Median, median_of
from common.records import Record, is_steady, step_seconds

TENTHS = 10
"""The first tenth of the steps is compared with the other nine."""


@dataclass(frozen=True, slots=True)
class UnexpectedSamples:
    """An epoch in which the ranks together did not see each sample once."""

    epoch: int
    seen: int
    expected: int
    """Equal to `seen` where only the checksum is off."""


@dataclass(frozen=True, slots=True)
class FirstSteps:
    """The first tenth of the steps beside the others."""

    steps: int
    slower_share: float
    """Mean of the first / mean of the rest − 1."""
    chance_share: float
    """What chance alone allows: the one-sided 99 % prediction bound for a batch of that length, as such a share."""


@dataclass(frozen=True, slots=True)
class EpochStart:
    """What a loader that starts anew costs an epoch."""

    seconds: float
    """On the rank that it took longest; in older records the median excess of an epoch's first step over a median
    one."""
    is_measured: bool
    """By starting one outside the clock. In older records the epochs themselves contained it."""


@dataclass(frozen=True, slots=True)
class RawTimes:
    """What is kept of a run's raw lists, apart from its estimates. All but the two checks of whole epochs (samples and
    clock) is of the steps that count for speeds."""

    steps: int
    steps_left_out: int
    """First steps of epochs, in older records."""
    epoch_start: EpochStart | None
    """None where it is not known."""
    typical_step: Median
    """Seconds."""
    longest_step: float
    """Seconds."""
    data_wait_share: float
    """Of the measured time, on the rank that waited longest for its loader."""
    core_wait_share: float | None
    """Of the measured time, in which the rank that waited longest could have run but others had the cores; None where
    the system does not count it."""
    steal_share: float | None
    """Of the CPU time that a rank's cores wanted, what a virtual machine's host gave to others, on the rank that lost
    most; None where the system does not count it."""
    throttled_periods: int
    """Periods in which a CPU quota had stopped the run."""
    clock_difference_share: float
    """Largest difference between an epoch by the host's clock and the sum of its steps, over all ranks."""
    unexpected_samples: UnexpectedSamples | None
    first_steps: FirstSteps | None
    """None where there are fewer than ten steps."""


def reduce_times(record: Record) -> RawTimes:
    """Reduce the raw lists of a run that finished at least one epoch."""
    steady = np.asarray(is_steady(record))
    every_step = np.asarray(step_seconds(record))
    steps = every_step[steady]
    return RawTimes(
        steps=len(steps),
        steps_left_out=int((~steady).sum()),
        epoch_start=_epoch_start(record, every_step[~steady], steps),
        typical_step=median_of(steps.tolist()),
        longest_step=float(steps.max()),
        data_wait_share=max(
            _share(np.asarray(rank.data_wait_seconds)[steady].sum(), np.asarray(rank.step_seconds)[steady].sum())
            for rank in record.ranks
        ),
        core_wait_share=max(
            (
                _share(sum(rank.core_wait_seconds), sum(rank.host_epoch_seconds))
                for rank in record.ranks
                if rank.core_wait_seconds
            ),
            default=None,
        ),
        steal_share=max(
            (
                _share(sum(rank.steal_seconds), sum(rank.steal_seconds) + sum(rank.busy_core_seconds))
                for rank in record.ranks
                if rank.steal_seconds
            ),
            default=None,
        ),
        throttled_periods=max(sum(rank.throttled_periods) for rank in record.ranks),
        clock_difference_share=_clock_difference(record),
        unexpected_samples=_unexpected_samples(record),
        first_steps=_first_steps(np.maximum(0.0, steps - _waits(record)[steady])),
    )


def _share(part: float, whole: float) -> float:
    return float(part / max(whole, 1e-12))


def _epoch_start(record: Record, left_out: np.ndarray, steps: np.ndarray) -> EpochStart | None:
    measured = [rank.loader_start_seconds for rank in record.ranks if rank.loader_start_seconds is not None]
    if measured:
        return EpochStart(max(measured), is_measured=True)
    if not len(left_out):
        return None
    return EpochStart(float(np.median(left_out) - np.median(steps)), is_measured=False)


def _waits(record: Record) -> np.ndarray:
    """Of each step, the wait of the rank that waited longest for its batch."""
    return np.asarray([rank.data_wait_seconds for rank in record.ranks]).max(axis=0)


def _clock_difference(record: Record) -> float:
    """The host's clock around each epoch against the sum of that epoch's steps by the devices' clocks."""
    worst, first = 0.0, 0
    for position, epoch in enumerate(record.epochs):
        for rank in record.ranks:
            by_steps = sum(rank.step_seconds[first : first + epoch.steps])
            by_host = rank.host_epoch_seconds[position]
            worst = max(worst, _share(abs(by_host - by_steps), max(by_host, by_steps)))
        first += epoch.steps
    return worst


def _unexpected_samples(record: Record) -> UnexpectedSamples | None:
    """The first epoch that is not what its steps and its checksum say.

    Where a step is split into micro-batches, the last one of an epoch holds those that are left, and no others.
    """
    config = record.config
    missing = -(config.samples_per_epoch // config.micro_batch_size) % config.accumulation_steps
    for position, epoch in enumerate(record.epochs):
        due = epoch.steps * config.global_batch_size - missing * config.micro_batch_size
        seen = sum(rank.samples[position] for rank in record.ranks)
        if seen != due or epoch.samples != due:
            return UnexpectedSamples(epoch.epoch, seen if seen != due else epoch.samples, due)
        checksum = sum(int(rank.checksums[position], 16) for rank in record.ranks) % 2**64
        if checksum != int(epoch.expected_checksum, 16):
            return UnexpectedSamples(epoch.epoch, seen, due)
    return None


def _first_steps(steps: np.ndarray) -> FirstSteps | None:
    if len(steps) < TENTHS:
        return None
    length = len(steps) // TENTHS
    batches = steps[: len(steps) // length * length].reshape(-1, length).mean(axis=1)
    first, rest = batches[0], batches[1:]
    mean = float(rest.mean())
    if mean <= 0:
        return FirstSteps(length, 0.0, 0.0)
    noise = student_quantile(len(rest) - 1, 0.98) * rest.std(ddof=1) * (1 + 1 / len(rest)) ** 0.5
    return FirstSteps(length, float(first / mean - 1), float(noise / mean))
