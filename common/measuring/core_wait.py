"""What a run's cores lost to others while it trained: to other programs, to a quota, to other virtual machines.

No clock of the run can tell these from slow work of its own; the kernel counts them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from common.machine.capacity import current_cores, throttled_periods
from common.messages import Message, message

WORTH_TELLING = 0.25
"""Share of an epoch. Two ranks on two quiet cores were seen to wait for 3 to 7 % of it, for their own loaders."""
STAT, SCHEDSTAT = Path("/proc/stat"), Path("/proc/thread-self/schedstat")


class CoreLosses(NamedTuple):
    """Between two moments, on this rank; None where the system does not count it."""

    core_wait_seconds: float | None
    """This thread could have run, but others had the cores."""
    throttled_periods: int | None
    """Periods in which the quota of the control group had stopped this program; None without a quota, too."""
    steal_seconds: float | None
    """CPU time, of all cores of this process together, that the host of a virtual machine gave to others."""
    busy_core_seconds: float | None
    """CPU time in which these cores worked, for whomever."""

    def warnings(self, epoch_seconds: float, quota: float | None, oversubscribed: bool) -> Iterator[Message]:
        """What of it is worth telling about an epoch of such length."""
        share = (self.core_wait_seconds or 0.0) / max(epoch_seconds, 1e-9)
        if self.throttled_periods and share > WORTH_TELLING:
            yield message(
                "waited for a core {share:.0%} of the epoch: the control group allows {quota:.2g} cores' worth of "
                "time; raise that limit (docker run --cpus, Kubernetes' limits.cpu), and repeat",
                share=share,
                quota=quota or 0.0,
            )
        elif share > WORTH_TELLING and not oversubscribed:
            yield message(
                "waited for a core {share:.0%} of the epoch: other programs use the cores, too; end them, and repeat",
                share=share,
            )
        stolen = self.steal_seconds or 0.0
        share = stolen / max(stolen + (self.busy_core_seconds or 0.0), 1e-9)
        if share > WORTH_TELLING:
            yield message(
                "{share:.0%} of the CPU time that this epoch wanted went to other virtual machines (steal): measure on "
                "a host of your own, or on dedicated cores",
                share=share,
            )


class CoreWait:
    """Counts from its making on, for the thread that makes it."""

    def __init__(self) -> None:
        self._before = _counters()

    def losses(self) -> CoreLosses:
        """Since the watch was made."""
        pairs = zip(self._before, _counters(), strict=True)
        return CoreLosses._make(None if old is None or new is None else round(new - old, 6) for old, new in pairs)


def _counters() -> CoreLosses:
    """What the kernel has counted so far."""
    try:
        waited = int(SCHEDSTAT.read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        waited = None
    return CoreLosses(waited, throttled_periods(), *(_core_times() or (None, None)))


def _core_times() -> tuple[float, float] | None:
    """Seconds stolen from the cores of this process since the system began, and seconds in which they worked: proc(5),
    /proc/stat. None where one of them has no line there: a container may number its cores anew."""
    ticks = os.sysconf("SC_CLK_TCK")
    try:
        lines = (line.split() for line in STAT.read_text().splitlines() if line.startswith("cpu"))
        cores = {name: [int(time) / ticks for time in times] for name, *times in lines}
        own = [cores[f"cpu{core}"] for core in current_cores()]
        return sum(times[7] for times in own), sum(sum(times[:3]) + sum(times[5:7]) for times in own)
    except (OSError, LookupError, ValueError):
        return None
