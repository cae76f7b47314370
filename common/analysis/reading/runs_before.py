"""What the lab itself had running in the minute before each run: the load average still contains it."""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from common.analysis.reading.runs import Run
from common.records import EnvironmentRecord, machine_of

MINUTE_SECONDS = 60.0
"""The load average is one over a minute."""


def with_devices_before(runs: Iterable[Run], checked: Iterable[EnvironmentRecord]) -> list[Run]:
    """The runs, each with the devices of the largest run on its machine that ended within the minute before it began.

    Step 01 counts, too: its probes keep every device busy.
    """
    runs = list(runs)
    ends: dict[str, list[tuple[float, int]]] = {}
    for run in runs:
        world, end = run.record.world, _timestamp(run.record.finished_at)
        busy = world.devices * (world.threads_per_device if world.device_kind == "cpu" else 1)
        if end is not None:
            ends.setdefault(machine_of(run.record.environment), []).append((end, busy))
    for record in checked:
        start, here = _timestamp(record.started_at), record.environment
        if start is not None and record.probes:
            end, busy = start + record.probes.seconds, len(here.gpus) or here.cpu_cores
            ends.setdefault(machine_of(here), []).append((end, busy))
    for of_machine in ends.values():
        of_machine.sort()
    return [replace(run, devices_before=_before(run, ends)) for run in runs]


def _before(run: Run, ends: dict[str, list[tuple[float, int]]]) -> int:
    start = _timestamp(run.record.started_at)
    if start is None:
        return 0
    known = ends.get(machine_of(run.record.environment), [])
    first, last = bisect(known, (start - MINUTE_SECONDS, 0)), bisect(known, (start, math.inf))
    return max((devices for _, devices in known[first:last]), default=0)


def _timestamp(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None
