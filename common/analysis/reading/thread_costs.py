"""Experiments on kinds of whole steps, and what DataParallel's threads and replicas cost by them, in seconds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import fmean

from common.analysis.statistics.medians import Median, median_of, resampled_median
from common.records import REPLICATED_KINDS, ProfileRecord, StepsInRounds

KINDS_OF_RANKS = {
    **{name: name for name in ("exchange_on", "no_all_reduce", "exchange_off", "one_bucket", "loaded", "resident")},
    "new_threads_new_replicas": "new_threads",  # these four in older records, which have no steps with both kept
    "kept_threads_new_replicas": "kept_threads",
    "new_threads_kept_replicas": "kept_replicas",
    "one_thread_new_replicas": "one_thread",
}
"""Kinds of steps whose times are lists of each rank, `<name>_seconds`."""
Kinds = Mapping[str, Sequence[float]]
"""Seconds of whole steps by kind, an entry a round."""


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


def kinds_of_step(profile: ProfileRecord) -> Kinds:
    """All kinds of whole steps that a profile has. Of several ranks, which start such a step together, the slowest."""
    kinds = {
        kind: [max(step) for step in zip(*(getattr(rank, f"{name}_seconds") for rank in profile.ranks), strict=False)]
        for kind, name in KINDS_OF_RANKS.items()
    }
    if profile.replicated_steps:
        kinds |= profile.replicated_steps.seconds
    if profile.threads_of_forward:
        kinds |= profile.threads_of_forward.passes.seconds
    return kinds


def differences(kinds: Kinds, one: str, other: str) -> list[float]:
    """What a step of one kind takes longer than one of another, round by round; nothing where either is missing."""
    return [more - less for more, less in zip(kinds.get(one, ()), kinds.get(other, ()), strict=False)]


def reduce_replicated(kinds: Kinds, rounds: StepsInRounds | None) -> ReplicatedSteps:
    """Reduce DP's experiment, as far as a record has it."""
    less = partial(differences, kinds)
    threads = [less(f"new_threads_{of}_replicas", f"kept_threads_{of}_replicas") for of in ("new", "kept")]
    replicas = [less(f"{of}_threads_new_replicas", f"{of}_threads_kept_replicas") for of in ("new", "kept")]
    return ReplicatedSteps(
        kinds={kind: median_of(kinds[kind]) for kind in REPLICATED_KINDS if kinds.get(kind)},
        threads_cost=_main_effect(threads),
        replicas_cost=_main_effect(replicas),
        interaction=resampled_median([new - kept for new, kept in zip(*threads, strict=False)]),
        turns=resampled_median(less("kept_threads_new_replicas", "one_thread_new_replicas")),
        unsettled=tuple(kind for kind, is_settled in rounds.settled.items() if not is_settled) if rounds else (),
    )


def _main_effect(halves: Sequence[Sequence[float]]) -> Median | None:
    return resampled_median([fmean(of_round) for of_round in zip(*filter(None, halves), strict=False)])
