"""A record's raw lists, reduced to the plain numbers that the self-checks decide about. No limits here, no verdicts."""

from dataclasses import dataclass

import numpy as np

from common.analysis.statistics.estimates import Estimate, mean_of_steps, student_quantile
from common.analysis.statistics.medians import Median, median_of
from common.records import MeasuredSteps, Record

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
class RawTimes:
    """What is kept of a run's raw lists, apart from its estimates. All but the two checks of whole epochs (samples and
    clock) is of the steps that count for speeds."""

    steps: int
    steps_left_out: int
    """First steps of epochs, in older records."""
    typical_step: Median
    """Seconds."""
    longest_step: float
    """Seconds."""
    data_wait_share: float
    """Of the measured time, on the rank that waited longest for its loader."""
    data_wait: Estimate
    """Seconds of a step in which that rank waited: a mean."""
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


def reduce_times(record: Record, measured: MeasuredSteps) -> RawTimes:
    """Reduce the raw lists of a run that finished at least one epoch."""
    steady, every_step = np.asarray(measured.is_steady), np.asarray(measured.seconds)
    steps, left_out = every_step[steady], every_step[~steady]
    waits = np.asarray([rank.data_wait_seconds for rank in record.ranks])[:, steady]
    of_ranks = np.asarray([rank.step_seconds for rank in record.ranks])[:, steady]
    wait_shares = [_share(wait.sum(), own.sum()) for wait, own in zip(waits, of_ranks, strict=True)]
    waited, stolen = [], []
    for rank in record.ranks:
        if rank.core_wait_seconds:
            waited.append(_share(sum(rank.core_wait_seconds), sum(rank.host_epoch_seconds)))
        if rank.steal_seconds:
            stolen.append(_share(sum(rank.steal_seconds), sum(rank.steal_seconds) + sum(rank.busy_core_seconds)))
    return RawTimes(
        steps=len(steps),
        steps_left_out=len(left_out),
        typical_step=median_of(steps.tolist()),
        longest_step=float(steps.max()),
        data_wait_share=max(wait_shares),
        data_wait=mean_of_steps(waits[int(np.argmax(wait_shares))]),
        core_wait_share=max(waited, default=None),
        steal_share=max(stolen, default=None),
        throttled_periods=max(sum(rank.throttled_periods) for rank in record.ranks),
        clock_difference_share=_clock_difference(record),
        unexpected_samples=_unexpected_samples(record),
        first_steps=_first_steps(np.maximum(0.0, steps - waits.max(axis=0))),
    )


def _share(part: float, whole: float) -> float:
    return float(part / max(whole, 1e-12))


def _clock_difference(record: Record) -> float:
    """The host's clock around each epoch against the sum of that epoch's steps by the devices' clocks."""
    pairs = (
        (sum(rank.step_seconds[part]), by_host)
        for rank in record.ranks
        for part, by_host in zip(record.epoch_slices, rank.host_epoch_seconds, strict=True)
    )
    return max(_share(abs(by_host - by_steps), max(by_host, by_steps)) for by_steps, by_host in pairs)


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
