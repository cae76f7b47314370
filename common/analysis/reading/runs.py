"""A run as the comparison needs it: the record without its raw lists, and the numbers that were computed from them."""

import math
from bisect import bisect
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from common.analysis.reading.raw_times import RawTimes, reduce_times
from common.analysis.reading.step_profile import StepProfile, reduce_profile
from common.analysis.statistics.estimates import Estimate, mean_of_steps
from common.records import (
    DeviceUse,
    EnvironmentRecord,
    GpuHealth,
    Record,
    epoch_seconds,
    machine_of,
    measured_steps,
)

CORE_WAIT_LIMIT = 0.15
"""Share of the time, waited or stolen. Two ranks on two quiet cores were seen to wait for 3 to 7 % of it, for their own
loaders."""
CLOCK_DROP = 0.9
"""Share of the median SM clock below which the lowest one is a fall."""
CLOCK_TOLERANCE = 0.01
"""Share of an epoch by which the host's clock and the devices' may differ: 200 recorded runs differ by 0.06 % at most.
Epochs of half a second on a host with three jobs for each core were seen to differ by 1.2 %."""
IMPOSSIBLE_CLOCK = 0.05
"""A larger share is no accident: one of the two clocks did not measure this run."""
LASTING = "application clocks"
"""A limit that somebody has set, and that does not come and go."""
MINUTE_SECONDS = 60.0
"""The load average is one over a minute."""


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
    lasting_limits: frozenset[str] = frozenset()
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
    def core_wait_share(self) -> float | None:
        """Share of the time in which others had the cores; None where it was not counted, or they may be its own."""
        return self.times.core_wait_share if self.times and not self.record.world.oversubscribed else None

    @property
    def steal_share(self) -> float | None:
        """Share of the wanted CPU time that went to other virtual machines; None where it was not counted."""
        return self.times.steal_share if self.times else None

    @property
    def met_other_programs(self) -> bool:
        """Whether others of this machine had the cores: by the time that the run waited for them. Where that was not
        counted, whether more was running in the minute before than there are cores and the lab itself explains."""
        if self.core_wait_share is not None:
            return self.core_wait_share > CORE_WAIT_LIMIT
        average = self.record.environment.load_average_1min
        return average is not None and average - self.devices_before > self.record.environment.cpu_cores

    @property
    def slowed_gpus(self) -> list[DeviceUse]:
        """Those whose clock fell, or was held back by what does not hold in every run."""
        return [device for device in self.record.devices if device.health and self._is_slowed(device.health)]

    def _is_slowed(self, health: GpuHealth) -> bool:
        low, typical = health.sm_clock_mhz_min, health.sm_clock_mhz_median
        fell = low is not None and typical is not None and low < CLOCK_DROP * typical
        return fell or bool({*health.throttle_reasons} - {LASTING, *self.lasting_limits})

    @property
    def other_processes(self) -> int | None:
        """The most that another program's processes were on a GPU of the run; None where nobody looked."""
        health = [device.health for device in self.record.devices if device.health]
        return max((one.other_processes for one in health if one.other_processes is not None), default=None)

    @property
    def is_comparable(self) -> bool:
        """Completed, and with a speed."""
        return self.record.status == "completed" and self.seconds_per_sample is not None


def summarise(file: str, record: Record) -> Run:
    """Compute a run's numbers, and let go of its raw lists."""
    steps = measured_steps(record)
    seconds = steps.seconds_per_sample
    kept = record.model_copy(update={"ranks": [], "anatomy": None})
    if not seconds or not math.isfinite(seconds):
        return Run(file, kept, None)
    return Run(
        file,
        kept,
        seconds_per_sample=replace(mean_of_steps(steps.steady_seconds), value=seconds),
        epoch_seconds=tuple(epoch_seconds(record)),
        times=reduce_times(record, steps),
        profile=reduce_profile(record),
        profile_note=record.anatomy.note if record.anatomy else "",
    )


def with_devices_before(runs: Iterable[Run], environments: Iterable[EnvironmentRecord]) -> list[Run]:
    """The runs, each with the devices of the largest run on its machine that ended within the minute before it began:
    the load average still contains it.

    Step 01 counts, too: its probes keep every device busy.
    """
    runs = list(runs)
    busy = [(run.record.environment, _timestamp(run.record.finished_at), run.record.world.threads) for run in runs]
    busy += [
        (record.environment, _timestamp(record.started_at) + record.probes.seconds, record.environment.devices)
        for record in environments
        if record.probes
    ]
    ends: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for environment, end, devices in busy:
        if not math.isnan(end):
            ends[machine_of(environment)].append((end, devices))
    for of_machine in ends.values():
        of_machine.sort()

    def devices_before(record: Record) -> int:
        start, known = _timestamp(record.started_at), ends[machine_of(record.environment)]
        if math.isnan(start):
            return 0
        first, last = bisect(known, (start - MINUTE_SECONDS, 0)), bisect(known, (start, math.inf))
        return max((devices for _, devices in known[first:last]), default=0)

    return [replace(run, devices_before=devices_before(run.record)) for run in runs]


def _timestamp(text: str) -> float:
    """Seconds since 1970; nan for what is no time."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return math.nan
