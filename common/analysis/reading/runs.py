"""A run as the comparison needs it: the record without its raw lists, and the numbers that these were reduced to."""

import math
from dataclasses import dataclass, replace
from itertools import compress

import numpy as np

from common.analysis.reading.step_profile import StepProfile, reduce_profile
from common.analysis.statistics.estimates import Estimate, mean_of_steps, student_quantile
from common.analysis.statistics.medians import Median, median_of
from common.records import DeviceUse, Record

TENTHS = 10
"""The first tenth of the steps is compared with the other nine."""
CORE_WAIT_LIMIT = 0.15
"""Share of the time, waited or stolen. Two ranks on two quiet cores waited 3 to 7 % of it, for their own loaders."""
CLOCK_DROP = 0.9
"""Share of the median SM clock below which the lowest one is a fall."""
IMPOSSIBLE_CLOCK = 0.05
"""Share of an epoch: a larger difference is no accident, but one of the two clocks did not measure this run."""


class RefusedError(Exception):
    """A file that cannot be used. The message is the reason, in words."""


@dataclass(frozen=True, slots=True)
class RawTimes:
    """What is kept of a run's raw lists, apart from its estimates. All but the two checks of whole epochs (samples and
    clock) is of the steps that count for speeds."""

    steps: int
    steps_left_out: int
    """First steps of epochs, in older records."""
    typical_step: Median
    longest_step: float
    """Both in seconds."""
    data_wait_share: float
    """Of the measured time, on the rank that waited longest for its loader."""
    data_wait: Estimate
    """Seconds of a step in which that rank waited: a mean."""
    core_wait_share: float | None
    """Of the measured time, in which the rank that waited longest could have run but others had the cores; None where
    that was not counted, or where the others may be the run's own."""
    steal_share: float | None
    """Of the CPU time that a rank's cores wanted, what a virtual machine's host gave to others, on the rank that lost
    most; None where the system does not count it."""
    throttled_periods: int
    """Periods in which a CPU quota had stopped the run."""
    clock_difference_share: float
    """Largest difference between an epoch by the host's clock and the sum of its steps, over all ranks."""
    unexpected_samples: tuple[int, int, int] | None
    """The first epoch in which the ranks together did not see each sample once, the samples that they saw, and those
    that they should have seen: as many where only the checksum is off."""
    first_steps: tuple[int, float, float] | None
    """How many steps are the first tenth; their mean / the mean of the others − 1; and how large that may be by chance
    alone, the one-sided 99 % prediction bound for a batch of that length. None where there are fewer than ten steps."""


@dataclass(frozen=True)
class Run:
    """One run. Its raw step times are gone: a thousand long records would not fit into memory otherwise."""

    file: str
    record: Record
    seconds_per_sample: Estimate | None
    """With the batch-means error over this run's steps; None before the first epoch has ended."""
    epoch_seconds: tuple[float, ...] = ()
    times: RawTimes | None = None
    """None where there is no speed."""
    profile: StepProfile | None = None
    profile_note: str = ""
    """Why something of it is missing."""
    devices_before: int = 0
    """Devices that the lab itself kept busy in the minute before this run: part of the load that it met."""
    throttling_in_all_runs: frozenset[str] = frozenset()
    """Reasons that held the clock back in every run of the group: no difference between any two of them."""

    @property
    def failed_check(self) -> str:
        """The self-check that withholds the run's speed: `parity`, `samples` or `clock`; empty where none does."""
        if self.record.failed_parity:
            return "parity"
        if self.times and self.times.unexpected_samples:
            return "samples"
        return "clock" if self.times and self.times.clock_difference_share > IMPOSSIBLE_CLOCK else ""

    @property
    def slowed_gpus(self) -> list[DeviceUse]:
        """Those whose clock fell, or was held back by what does not hold in every run."""
        lasting = {"application clocks", *self.throttling_in_all_runs}  # the first is a limit that somebody has set
        slowed = []
        for device in self.record.devices:
            if health := device.health:
                low, typical = health.sm_clock_mhz_min, health.sm_clock_mhz_median
                fell = low is not None and typical is not None and low < CLOCK_DROP * typical
                if fell or {*health.throttle_reasons} - lasting:
                    slowed.append(device)
        return slowed

    @property
    def other_processes(self) -> int | None:
        """The most that another program's processes were on a GPU of the run; None where nobody looked."""
        counts = [device.health.other_processes for device in self.record.devices if device.health]
        return max((count for count in counts if count is not None), default=None)

    @property
    def is_comparable(self) -> bool:
        """Completed, and with a speed."""
        return self.record.status == "completed" and self.seconds_per_sample is not None


def summarise(file: str, record: Record) -> Run:
    """Compute a run's numbers, and let go of its raw lists. RefusedError where a completed run has no usable time."""
    every_step, steady = record.measured_steps, np.asarray(record.is_steady)
    seconds, samples = sum(compress(every_step, steady)), record.steady_samples
    kept = record.model_copy(update={"ranks": [], "anatomy": None})
    if not (0 < seconds < math.inf and samples > 0):
        if record.status == "completed":
            raise RefusedError("its step times add up to no usable time")
        return Run(file, kept, None)
    steps = np.asarray(every_step)[steady]
    return Run(
        file,
        kept,
        seconds_per_sample=replace(mean_of_steps(steps), value=seconds / samples),
        epoch_seconds=tuple(record.epoch_seconds),
        times=reduce_times(record, steps, steady),
        profile=reduce_profile(record),
        profile_note=record.anatomy.note if record.anatomy else "",
    )


def reduce_times(record: Record, steps: np.ndarray, steady: np.ndarray) -> RawTimes:
    """Reduce a run's raw lists. `steady`: which of all its steps count for speeds; `steps`: the seconds of these."""
    ranks = record.ranks
    waits = np.asarray([rank.data_wait_seconds for rank in ranks])[:, steady]
    of_ranks = np.asarray([rank.step_seconds for rank in ranks])[:, steady]
    wait_shares = [_share(wait.sum(), own.sum()) for wait, own in zip(waits, of_ranks, strict=True)]
    waited = [_share(sum(rank.core_wait_seconds), sum(rank.host_epoch_seconds))
              for rank in ranks if rank.core_wait_seconds and not record.world.oversubscribed]  # fmt: skip
    stolen = [_share(sum(rank.steal_seconds), sum(rank.steal_seconds) + sum(rank.busy_core_seconds))
              for rank in ranks if rank.steal_seconds]  # fmt: skip
    # Each epoch by the host's clock, and the sum of its steps by the devices' clocks.
    epochs = [(by_host, sum(rank.step_seconds[part])) for rank in ranks
              for part, by_host in zip(record.epoch_slices, rank.host_epoch_seconds, strict=True)]  # fmt: skip
    return RawTimes(
        steps=len(steps),
        steps_left_out=len(steady) - len(steps),
        typical_step=median_of(steps.tolist()),
        longest_step=float(steps.max()),
        data_wait_share=max(wait_shares),
        data_wait=mean_of_steps(waits[int(np.argmax(wait_shares))]),
        core_wait_share=max(waited, default=None),
        steal_share=max(stolen, default=None),
        throttled_periods=max(sum(rank.throttled_periods) for rank in ranks),
        clock_difference_share=max(_share(abs(by_host - by_steps), max(by_host, by_steps))
                                   for by_host, by_steps in epochs),
        unexpected_samples=_unexpected_samples(record),
        first_steps=_first_tenth(np.maximum(0.0, steps - waits.max(axis=0))),
    )  # fmt: skip


def _share(part: float, whole: float) -> float:
    return float(part / max(whole, 1e-12))


def _unexpected_samples(record: Record) -> tuple[int, int, int] | None:
    """The first epoch that is not what its steps and its checksum say.

    Where a step is split into micro-batches, the last one of an epoch holds those that are left, and no others.
    """
    config = record.config
    missing = -(config.samples_per_epoch // config.micro_batch_size) % config.accumulation_steps
    for position, epoch in enumerate(record.epochs):
        due = epoch.steps * config.global_batch_size - missing * config.micro_batch_size
        seen = sum(rank.samples[position] for rank in record.ranks)
        if seen != due or epoch.samples != due:
            return epoch.epoch, seen if seen != due else epoch.samples, due
        checksum = sum(int(rank.checksums[position], 16) for rank in record.ranks) % 2**64
        if checksum != int(epoch.expected_checksum, 16):
            return epoch.epoch, seen, due
    return None


def _first_tenth(steps: np.ndarray) -> tuple[int, float, float] | None:
    """`RawTimes.first_steps`: the steps in batches of a tenth each; the mean of the first beside those of the others,
    whose scatter says how far one more batch may be from them by chance."""
    if len(steps) < TENTHS:
        return None
    length = len(steps) // TENTHS
    whole = len(steps) // length * length
    first, *others = steps[:whole].reshape(-1, length).mean(axis=1)
    mean = float(np.mean(others))
    if mean <= 0:
        return length, 0.0, 0.0
    scatter = np.std(others, ddof=1) * (1 + 1 / len(others)) ** 0.5  # of a further batch around the others' mean
    by_chance = student_quantile(len(others) - 1, 0.98) * scatter  # two-sided 98 %: one-sided 99 %
    return length, float(first / mean - 1), float(by_chance / mean)
