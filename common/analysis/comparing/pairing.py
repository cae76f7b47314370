"""Which runs of two rows are a pair: those of one round, which met the same machine at nearly the same time."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol

from common.analysis.reading.runs import Run

MIN_PAIRS = 3
"""Fewer say nothing of how pairs differ."""
Pairs = list[tuple[Run, Run]]


class HasRuns(Protocol):
    """A row."""

    runs: list[Run]
    """The newest last."""


def paired_runs(one: HasRuns, other: HasRuns) -> Pairs:
    """The runs of each round that has both rows; nothing where there are fewer than three such rounds.

    A campaign tells each run its round: a round in which one of the two is missing is no pair. Runs without a round
    (by hand, and in older records) are pairs where each row ran once before either ran again. In which order the runs
    of a round came does not matter.
    """
    rounds = _rounds(one.runs), _rounds(other.runs)
    if all(rounds):
        pairs = [(rounds[0][key], rounds[1][key]) for key in rounds[0] if key in rounds[1]]
    else:
        pairs = _by_time(one.runs, other.runs)
    return pairs if len(pairs) >= MIN_PAIRS else []


def in_turn(one: HasRuns, other: HasRuns) -> bool:
    """Whether three or more rounds ran both."""
    return bool(paired_runs(one, other))


def _rounds(runs: Sequence[Run]) -> dict[tuple[str, int], Run]:
    """Runs by campaign and round, the newest of each; nothing where one of them has no round."""
    launches = [run.record.launch for run in runs]
    if not all(launches):
        return {}
    return {(launch.id, launch.round): run for launch, run in zip(launches, runs, strict=True) if launch}


def _by_time(one: Sequence[Run], other: Sequence[Run]) -> Pairs:
    if len(one) != len(other):
        return []
    pairs = list(zip(one, other, strict=True))
    started = [[run.record.started_at for run in pair] for pair in pairs]
    return pairs if all(max(this) < min(following) for this, following in pairwise(started)) else []
