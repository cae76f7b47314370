"""Scaling that cannot be: N devices that are said to do far more than N times the work of one."""

from __future__ import annotations

from common.analysis.statistics.estimates import Estimate

WEAK_LIMIT = 1.25
"""Devices that each do one device's work take at least its time. Of the recorded examples none is above 1.03; the
rest is left to a single run of one device that something slowed."""
STRONG_LIMIT = 2.0
"""A device's part of the batch may fit into a cache, or into the memory, where the whole did not."""


def is_impossible(efficiency: Estimate, same_batch: bool) -> bool:
    """Whether the whole interval, or without one the value, lies above what can be; `same_batch`: of weak scaling."""
    return efficiency.bounds[0] > (WEAK_LIMIT if same_batch else STRONG_LIMIT)
