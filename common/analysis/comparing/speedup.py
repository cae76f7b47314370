"""How many times as fast one row is as another, by the runs of the same rounds where both took part in three or more.

A pair are the runs of one round, which met the same machine at nearly the same time.
"""

from bisect import bisect
from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol

from common.analysis.reading.runs import Run
from common.analysis.statistics.estimates import Estimate, mean_of_runs, paired_ratio, ratio

ENOUGH_RUNS = 3
"""Fewer runs of a row, or pairs of two rows, say nothing of how they differ."""
Pairs = list[tuple[Run, Run]]


class HasRuns(Protocol):
    """A row."""

    runs: list[Run]
    """The newest last."""


def speedup(one: HasRuns, other: HasRuns, pairs: Pairs | None = None) -> Estimate:
    """Throughput of `one` over that of `other`, whether or not either is withheld. `pairs`: runs of both that belong
    together, where these are known; else those of `paired_runs`.

    With fewer than three runs on a side the ratio has no interval: those of single runs know nothing of the difference
    between launches.
    """
    if pairs := pairs or paired_runs(one.runs, other.runs):
        seconds = [[run.seconds_per_sample.value for run in pair] for pair in pairs]
        return paired_ratio([theirs for _, theirs in seconds], [own for own, _ in seconds])
    own, theirs = (mean_of_runs([run.seconds_per_sample for run in row.runs]) for row in (one, other))
    few = min(len(one.runs), len(other.runs)) < ENOUGH_RUNS
    return Estimate(theirs.value / own.value) if few else ratio(theirs, own)


def common_rounds(row: HasRuns, other: HasRuns) -> Pairs:
    """The runs of the rounds that both took part in, where either may have run more often; nothing where there are
    fewer than three such rounds."""
    if pairs := paired_runs(row.runs, other.runs):
        return pairs
    started = [run.record.started_at for run in other.runs]
    run_of_round: dict[int, Run] = {}
    for run in row.runs:  # of several after one run of `other`, the first was of its round
        run_of_round.setdefault(bisect(started, run.record.started_at) - 1, run)
    rounds = {place: run for place, run in run_of_round.items() if place >= 0}
    return paired_runs(list(rounds.values()), [other.runs[place] for place in rounds])


def paired_runs(one: Sequence[Run], other: Sequence[Run]) -> Pairs:
    """Of two rows, the runs of each round that has both; nothing where there are fewer than three such rounds.

    A campaign tells each run its round: a round in which one of the two is missing is no pair. Runs without a round
    (by hand, and in older records) are pairs where each row ran once before either ran again. In which order the runs
    of a round came does not matter.
    """
    if all(run.record.launch for run in (*one, *other)):
        # The newest run of each campaign's round.
        own, theirs = ({(run.record.launch.id, run.record.launch.round): run for run in runs} for runs in (one, other))
        pairs = [(own[key], theirs[key]) for key in own if key in theirs]
    else:
        pairs = list(zip(one, other, strict=False))
        started = [[run.record.started_at for run in pair] for pair in pairs]
        if len(one) != len(other) or any(max(this) >= min(following) for this, following in pairwise(started)):
            return []
    return pairs if len(pairs) >= ENOUGH_RUNS else []
