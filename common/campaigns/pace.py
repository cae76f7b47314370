"""How long a campaign's commands take, and how long it will take."""

from __future__ import annotations

import math
from collections.abc import Iterable
from time import monotonic

from common.campaigns.launcher import step_number

REPORT_SECONDS = 15.0
"""What step 05 takes, until it has been seen."""


class Pace:
    """From commands that have run: the last of each step stands for the next one of it."""

    def __init__(self) -> None:
        self._started = monotonic()
        self._seconds = {"05": REPORT_SECONDS}
        self._least_told = math.inf

    @property
    def elapsed(self) -> float:
        """Seconds since the campaign began."""
        return monotonic() - self._started

    def add(self, command: str, seconds: float) -> None:
        """Enter what a command took."""
        self._seconds[step_number(command)] = seconds

    def of(self, commands: Iterable[str]) -> float | None:
        """Seconds that these commands will take; None where one of their steps has not been seen."""
        seconds = [self._seconds.get(step_number(command)) for command in commands]
        return None if None in seconds else sum(filter(None, seconds))

    def told(self, commands: Iterable[str]) -> str:
        """The time that is gone and, where it is known, the time until all of these have run. That never grows."""
        left = self.of(commands)
        if left is None:
            return f"{in_minutes(self.elapsed)} gone"
        self._least_told = min(left, self._least_told)
        return f"{in_minutes(self.elapsed)} gone, about {in_minutes(self._least_told)} left"

    def allow(self, seconds: float) -> None:
        """Let the time left grow once by so much: a round has been added, and that was said."""
        self._least_told += seconds


def in_minutes(seconds: float) -> str:
    """45 s, 5 min, 7 min 5 s."""
    minutes, rest = divmod(round(seconds), 60)
    return " ".join(([f"{minutes} min"] if minutes else []) + ([f"{rest} s"] if rest or not minutes else []))
