"""What threads and replicas cost, by experiment: reduced to medians with intervals, in seconds."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Literal

import numpy as np

from common.analysis.statistics.medians import Median, median_of, resampled_median
from common.records import REPLICATED_KINDS, LayerTimes, ProfileRecord, RankProfile, ThreadsOfForward

OLDER_KINDS = {
    "new_threads_new_replicas": "new_threads_seconds",
    "kept_threads_new_replicas": "kept_threads_seconds",
    "new_threads_kept_replicas": "kept_replicas_seconds",
    "one_thread_new_replicas": "one_thread_seconds",
}
"""In older records, which have no steps with both kept: the field of each kind."""


@dataclass(frozen=True)
class ReplicatedSteps:
    """DataParallel: {new, kept} threads × {new, kept} replicas. Nothing where that was not measured."""

    kinds: dict[str, Median] = field(default_factory=dict)
    """Whole steps of the kinds of `REPLICATED_KINDS`."""
    threads_cost: Median | None = None
    """What a step takes longer with new threads than with kept ones: the main effect, the mean over new and kept
    replicas. Older records have one half of the design: with new replicas alone."""
    replicas_cost: Median | None = None
    """What a step takes longer with new replicas than with kept ones, likewise the mean over new and kept threads. Both
    costs together are, round by round, torch's own step less the one that keeps threads and replicas."""
    interaction: Median | None = None
    """What new threads cost beside new replicas more than beside kept ones; None where a half is missing."""
    turns: Median | None = None
    """What kept threads take longer than one thread that launches the replicas in turn."""
    unsettled: tuple[str, ...] = ()
    """Kinds whose times had not settled when the rounds began."""


def reduce_replicated(profile: ProfileRecord, rank: RankProfile) -> ReplicatedSteps:
    """Reduce DP's experiment, as far as a record has it."""
    taken = profile.replicated_steps
    older = {kind: getattr(rank, name) for kind, name in OLDER_KINDS.items() if getattr(rank, name)}
    kinds = taken.seconds if taken else older

    def less(one: str, other: str) -> list[float]:
        """Round by round."""
        return [more - rest for more, rest in zip(kinds.get(one, ()), kinds.get(other, ()), strict=False)]

    threads = [less(f"new_threads_{of}_replicas", f"kept_threads_{of}_replicas") for of in ("new", "kept")]
    replicas = [less(f"{of}_threads_new_replicas", f"{of}_threads_kept_replicas") for of in ("new", "kept")]
    return ReplicatedSteps(
        kinds={kind: median_of(kinds[kind]) for kind in REPLICATED_KINDS if kind in kinds},
        threads_cost=_mean_effect(threads),
        replicas_cost=_mean_effect(replicas),
        interaction=resampled_median([new - kept for new, kept in zip(*threads, strict=False)]),
        turns=resampled_median(less("kept_threads_new_replicas", "one_thread_new_replicas")),
        unsettled=tuple(kind for kind, is_settled in taken.settled.items() if not is_settled) if taken else (),
    )


def _mean_effect(halves: Sequence[Sequence[float]]) -> Median | None:
    there = [half for half in halves if half]
    return resampled_median([fmean(of_round) for of_round in zip(*there, strict=False)]) if there else None


@dataclass(frozen=True)
class ForwardThreads:
    """One device: its step, or its forward pass, with the forward pass in the main, a new, and a kept thread."""

    timed: Literal["step", "forward"]
    samples: int
    kinds: dict[str, Median]
    new_cost: Median
    """In a new thread less in the main one."""
    kept_cost: Median
    """In a kept thread less in the main one."""
    layers: list[LayerTimes]

    @property
    def paying(self) -> list[LayerTimes]:
        """Layers that pay for new threads, the dearest first."""
        return sorted((layer for layer in self.layers if layer.pays), key=lambda layer: -layer.extra)

    @property
    def convolutions(self) -> list[LayerTimes]:
        """In the order of a forward pass."""
        return [layer for layer in self.layers if layer.is_convolution]


def reduce_threads(measured: ThreadsOfForward | None) -> ForwardThreads | None:
    """Reduce one device's experiment."""
    if measured is None or not measured.passes.orders:
        return None
    times = measured.passes.seconds
    new, kept = (np.subtract(times[kind], times["main_thread"]).tolist() for kind in ("new_thread", "kept_thread"))
    return ForwardThreads(
        timed=measured.timed,
        samples=measured.samples,
        kinds={kind: median_of(seconds) for kind, seconds in times.items()},
        new_cost=resampled_median(new),
        kept_cost=resampled_median(kept),
        layers=[one for one in measured.layers if len(one.seconds) == len(times) and all(one.seconds.values())],
    )
