"""Energy per epoch and per thousand samples, from NVML's counters of whole GPUs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from common.analysis.comparing.groups import Row
from common.analysis.reading.runs import Run

Place = tuple[str, int]
"""Host and CUDA index: a GPU that several replicas share draws its power once."""


@dataclass(frozen=True)
class Energy:
    """What some GPUs drew over the measured epochs of some runs."""

    joules: float
    epochs: float
    """Whole epochs' worth of samples."""
    samples: int
    idle_joules: float | None
    """What they would have drawn with nothing to do; None where the idle power is not known."""

    @property
    def joules_per_epoch(self) -> float:
        return self.joules / self.epochs

    @property
    def joules_per_thousand_samples(self) -> float:
        return 1000 * self.joules / self.samples

    @property
    def idle_share(self) -> float | None:
        """Idle watts × seconds / joules."""
        return self.idle_joules / self.joules if self.idle_joules is not None and self.joules else None


def energy_of(row: Row) -> Energy | None:
    """All devices of a row together; None where one of them was not measured."""
    parts = device_energy(row)
    if not parts or len(parts) < len({place for run in row.runs for place in _places(run)}):
        return None
    idle = [part.idle_joules for part in parts.values()]
    first = next(iter(parts.values()))
    if len({part.samples for part in parts.values()}) > 1:
        return None
    total = sum(part.joules for part in parts.values())
    return Energy(total, first.epochs, first.samples, None if None in idle else sum(idle))


def device_energy(row: Row) -> dict[Place, Energy]:
    """Each GPU of a row over the runs that measured it: a ratio of sums, as throughput is."""
    measured: dict[Place, list[tuple[Run, float, float | None]]] = {}
    for run in row.runs:
        for place, device in _places(run).items():
            if device.energy_joules is not None:
                measured.setdefault(place, []).append((run, device.energy_joules, device.idle_watts))
    return {place: _sum(parts) for place, parts in measured.items()}


def _places(run: Run) -> dict:
    return {(device.host, device.index): device for device in run.record.devices}


def _sum(parts: Iterable[tuple[Run, float, float | None]]) -> Energy:
    parts = list(parts)
    idle = [None if watts is None else watts * sum(run.epoch_seconds) for run, _, watts in parts]
    samples = [epoch.samples for run, _, _ in parts for epoch in run.record.epochs]
    return Energy(
        joules=sum(joules for _, joules, _ in parts),
        epochs=sum(samples) / max(samples),
        samples=sum(samples),
        idle_joules=None if None in idle else sum(idle),
    )
