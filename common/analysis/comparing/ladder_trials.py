"""The ladder: configurations of one device that were tried one after another, each with one switch more.

It is read off the records alone. The first configuration that was run stands; each one after it that differs from it in
one switch is a trial, and stands in its place where it is faster beyond doubt, by three runs or more: the rule by which
`make ladder` goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from common.analysis.comparing.facts import facts_of_settings, group_facts, grouped, other_facts
from common.analysis.comparing.rows import ENOUGH_RUNS, Row
from common.analysis.comparing.speedup import paired_speedup
from common.analysis.reading.runs import Run
from common.analysis.statistics.estimates import Estimate, distinguishable
from common.records import METHODS, Record

SWITCHES = ("per_device_batch_size", *facts_of_settings(lambda one: one.in_ladder))
MIN_SWITCHES = 2
"""Fewer are a comparison of two configurations, or a series of batches."""


@dataclass(frozen=True, eq=False)
class Trial:
    """One switch that was tried: a rung of the ladder, as the page calls it."""

    fact: str
    values: tuple
    """Before and after."""
    row: Row | None
    """None where it did not run."""
    quotient: Estimate | None
    """Its throughput over that of what stood."""
    is_kept: bool
    failed: Run | None = None


@dataclass(frozen=True, eq=False)
class Ladder:
    """All trials, from the first configuration up."""

    first: Row
    trials: list[Trial]
    top: Row
    at_first_batch: Row | None
    """The top configuration's switches at the first batch: its loss compares with the first configuration's."""

    @property
    def rows(self) -> set[Row]:
        """Every row that is part of it."""
        return {row for row in (self.first, self.at_first_batch, *(trial.row for trial in self.trials)) if row}


def ladder_of(rows: Sequence[Row], runs: Sequence[Run]) -> Ladder | None:
    """The ladder of most trials; None where there is none. `runs` are all runs, for the switches that failed."""
    usable = [row for row in rows if not row.is_parallel and row.is_valid]
    broken = [run for run in runs if run.record.status == "failed" and not METHODS[run.record.method].is_parallel]
    alike = grouped(usable, lambda row: _settings(row.record))
    failed = grouped(broken, lambda run: _settings(run.record))
    ladders = [_ladder(of_settings, failed.get(settings, [])) for settings, of_settings in alike.items()]
    ladders = [ladder for ladder in ladders if any(trial.row and _is_tried(trial.row) for trial in ladder.trials)
             and len({trial.fact for trial in ladder.trials}) >= MIN_SWITCHES]  # fmt: skip
    return max(ladders, key=lambda ladder: len(ladder.trials), default=None)


def _is_tried(row: Row) -> bool:
    """Whether it was run often enough to be kept."""
    return len(row.runs) >= ENOUGH_RUNS


def _settings(record: Record) -> tuple:
    """Everything but the switches, and but what follows from the batch."""
    facts = {**group_facts(record), **other_facts(record)}
    return tuple((name, value) for name, value in facts.items() if name not in (*SWITCHES, "global_batch_size"))


def _ladder(rows: Sequence[Row], failed: Sequence[Run]) -> Ladder:
    tries: list[tuple[str, Row | Run]] = [(row.runs[0].record.started_at, row) for row in rows]
    done = {tuple(_switches(row.record).values()) for row in rows}
    tries += [(run.record.started_at, run) for run in failed if tuple(_switches(run.record).values()) not in done]
    first = min(rows, key=lambda row: row.runs[0].record.started_at)
    standing, trials = first, list[Trial]()
    for _, one in sorted(tries, key=lambda pair: pair[0]):  # `first` among them, which is no trial above itself
        trial = _trial(standing, one)
        known = [(other.fact, other.values) for other in trials]
        if trial and not (trial.failed and (trial.fact, trial.values) in known):
            trials.append(trial)
            standing = trial.row if trial.is_kept and trial.row else standing
    goal = _switches(standing.record) | {"per_device_batch_size": _switches(first.record)["per_device_batch_size"]}
    at_first_batch = next((row for row in rows if _switches(row.record) == goal), None)
    return Ladder(first, trials, standing, at_first_batch)


def _switches(record: Record) -> dict:
    facts = group_facts(record)
    return {name: facts[name] for name in SWITCHES}


def _trial(standing: Row, one: Row | Run) -> Trial | None:
    """What `one` tries; None where it differs from what stands in more than one switch, or goes back to a smaller
    batch."""
    before, after = _switches(standing.record), _switches(one.record)
    changed = [name for name in SWITCHES if before[name] != after[name]]
    if len(changed) != 1 or (changed == ["per_device_batch_size"] and after[changed[0]] < before[changed[0]]):
        return None
    (fact,) = changed
    values = (before[fact], after[fact])
    if isinstance(one, Run):
        return Trial(fact, values, None, None, is_kept=False, failed=one)
    quotient = paired_speedup(one, standing)
    is_kept = _is_tried(one) and quotient.value > 1 and bool(distinguishable(quotient))
    return Trial(fact, values, one, quotient, is_kept)
