"""How many times as fast one row is as another."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass

from common.analysis.comparing.pairing import MIN_PAIRS, HasRuns, in_turn, paired_runs
from common.analysis.reading.runs import Run
from common.analysis.statistics.estimates import Estimate, mean_of_runs, paired_ratio, ratio


@dataclass
class _Partners:
    runs: list[Run]


def pooled(runs: Sequence[Run]) -> Estimate:
    """Seconds per sample over runs of one configuration."""
    return mean_of_runs([run.seconds_per_sample for run in runs])


def times_as_fast(one: HasRuns, other: HasRuns) -> Estimate:
    """Throughput of `one` over that of `other`, whether or not either is withheld.

    Where the two were run in turn for three rounds or more, as `make lab` does, the runs of a round are a pair. With
    fewer than three runs on a side the ratio has no interval: those of single runs know nothing of the difference
    between launches.
    """
    own, theirs = pooled(one.runs), pooled(other.runs)
    if min(len(one.runs), len(other.runs)) < MIN_PAIRS:
        return Estimate(theirs.value / own.value)
    if pairs := paired_runs(one, other):
        seconds = [[run.seconds_per_sample.value for run in pair] for pair in pairs]
        return paired_ratio([second for _, second in seconds], [first for first, _ in seconds])
    return ratio(theirs, own)


def times_as_fast_beside(row: HasRuns, other: HasRuns) -> Estimate:
    """The same, where either may have run more often: the runs of the very rounds that both took part in count, and all
    of them where there are no such rounds."""
    if in_turn(row, other):
        return times_as_fast(row, other)
    started = [run.record.started_at for run in other.runs]
    beside: dict[int, Run] = {}
    for run in row.runs:  # of several after one run of `other`, the first was of its round
        beside.setdefault(bisect(started, run.record.started_at) - 1, run)
    rounds = [(run, other.runs[place]) for place, run in beside.items() if place >= 0]
    of_rounds = [_Partners(list(runs)) for runs in zip(*rounds, strict=True)]
    return times_as_fast(*of_rounds) if of_rounds and in_turn(*of_rounds) else times_as_fast(row, other)
