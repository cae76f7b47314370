"""How long a thread was ready to run while others had the cores: a neighbour that no clock of ours can see."""

from __future__ import annotations

from pathlib import Path

from common.machine.capacity import throttled_periods

WORTH_TELLING = 0.25
"""Share of an epoch. Two ranks on two quiet cores were seen to wait for 3 to 7 % of it, for their own loaders."""


class CoreWait:
    """A stopwatch of that time, for the thread that makes it."""

    def __init__(self) -> None:
        self._before = _counted()
        self._throttled = throttled_periods()

    def seconds(self) -> float | None:
        """Seconds since the stopwatch was made; None where the system does not count them."""
        now = _counted()
        return None if now is None or self._before is None else now - self._before

    def throttled_periods(self) -> int | None:
        """Periods since the stopwatch was made in which the quota of the control group has stopped this program, and
        nobody else; None where there is no quota."""
        now = throttled_periods()
        return None if now is None or self._throttled is None else now - self._throttled


def _counted() -> float | None:
    """What Linux has counted for this thread since it began; None elsewhere."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return None
