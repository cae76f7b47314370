"""Energy per epoch and per thousand samples, from NVML's counters of whole GPUs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from common.analysis.statistics.estimates import Estimate, mean_of_runs

GPU = ["host", "index"]
"""A GPU that several replicas share draws its power once."""


@dataclass(frozen=True)
class Energy:
    """What some GPUs drew over the measured epochs of some runs."""

    joules: float
    epochs: float
    """Whole epochs' worth of samples."""
    samples: int
    idle_joules: float | None
    """What they would have drawn with nothing to do; None where the idle power is not known."""
    by_run: Sequence[float] = ()
    """Joules per sample of each run."""

    @property
    def joules_per_epoch(self) -> float:
        """Of all its devices together."""
        return self.joules / self.epochs

    @property
    def joules_per_thousand_samples(self) -> float:
        """Of all its devices together."""
        return 1000 * self.joules / self.samples

    @property
    def per_thousand(self) -> Estimate:
        """The same with its error, from the differences between runs; without one below three of them."""
        error = mean_of_runs([*map(Estimate, self.by_run)]) if len(self.by_run) > 2 else Estimate(0.0)
        return replace(error, value=self.joules_per_thousand_samples)

    @property
    def idle_share(self) -> float | None:
        """Idle watts × seconds / joules."""
        return self.idle_joules / self.joules if self.idle_joules is not None and self.joules else None


def energy_by_device(table: pd.DataFrame) -> dict[tuple[str, int], Energy]:
    """Each GPU of a row, by host and index, over the runs that measured it: a ratio of sums, as throughput is."""
    counted = _counted(table)
    if counted.empty:
        return {}
    idle = counted["idle_watts"].astype(float) * counted["measured_seconds"]
    sums = counted.assign(idle_joules=idle).groupby(GPU, sort=False).agg(
        joules=("energy_joules", "sum"),
        samples=("samples", "sum"),
        epoch_samples=("epoch_samples", "max"),
        idle_joules=("idle_joules", lambda parts: parts.sum(skipna=False)),
    )  # fmt: skip
    return {
        (host, int(index)): Energy(
            joules=float(line.joules),
            epochs=float(line.samples / line.epoch_samples),
            samples=int(line.samples),
            idle_joules=None if pd.isna(line.idle_joules) else float(line.idle_joules),
        )
        for (host, index), line in zip(sums.index, sums.itertuples(), strict=True)
    }


def total_energy(table: pd.DataFrame, parts: dict[tuple[str, int], Energy]) -> Energy | None:
    """All devices of a row together; None where one of them was not measured, or not in every run."""
    if not parts or len(parts) < len(table.groupby(GPU)) or len({part.samples for part in parts.values()}) > 1:
        return None
    first, *_ = parts.values()
    idle = [part.idle_joules for part in parts.values()]
    joules = sum(part.joules for part in parts.values())
    each = _counted(table).groupby("run", sort=False).agg(joules=("energy_joules", "sum"), samples=("samples", "first"))
    by_run = (each["joules"] / each["samples"]).tolist()
    return Energy(joules, first.epochs, first.samples, None if None in idle else sum(idle), by_run)


def _counted(table: pd.DataFrame) -> pd.DataFrame:
    """A line for each GPU of each run that measured it."""
    return table.reset_index().drop_duplicates(["run", *GPU], keep="last").dropna(subset=["energy_joules"])
