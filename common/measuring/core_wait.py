"""How long a thread was ready to run while other programs had the cores: a neighbour that no clock of ours can see."""

from __future__ import annotations

from pathlib import Path

WORTH_TELLING = 0.25
"""Share of an epoch. On a machine of its own a thread waits for a core less than 2 % of the time."""


def core_wait_seconds() -> float | None:
    """What Linux has counted for this thread since it began; None elsewhere."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return None
