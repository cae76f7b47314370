"""Configurations that differ in one fact: all pairs of them, and the ladder, which tries one switch after another.

Pairs are of one method on as many devices, in whichever groups; step 05 writes them as `one_change.csv`, whose columns
`docs/tables.md` explains. The ladder is of one device and read off the records alone: the first configuration that was
run stands; each one after it that differs from it in one switch is a trial, and stands in its place where it is faster
beyond doubt, by three runs or more: the rule by which `make ladder` goes on.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, get_args

from common.analysis.comparing.csv_files import Line, of_side, with_ends
from common.analysis.comparing.facts import OPTIONS, PLACE, USUAL, configuration, facts_of_settings, group_key, grouped
from common.analysis.comparing.row_names import closest
from common.analysis.comparing.rows import Row
from common.analysis.comparing.speedup import common_rounds, paired_runs, speedup
from common.analysis.reading.runs import Run
from common.analysis.statistics.estimates import Estimate, outcome_of_ratio
from common.records import METHODS, DdpOptions, Precision, Record, settings_of

ASIDE = (*facts_of_settings(lambda one: one.effect == "length"), "campaign")
"""How long a run was measured, and what for, is no change of what it did: such rows are compared, those that agree in
these where there are."""
MUST_AGREE = ("method", *PLACE, *facts_of_settings(lambda one: one.effect == "work"), "machine", "cpu_model",
              "cpu_cores", "driver", "python")  # fmt: skip
"""Other work, other machines, and what moves no time: no switch that anybody would compare the speed of."""
USUAL_OPTIONS = {name: one.usual for name, one in settings_of(DdpOptions).items() if not one.exempt}
MAX_VALUES = 24
"""Of one fact: all pairs of more would be a table that nobody reads."""
PRECISIONS = get_args(Precision)
SWITCHES = ("per_device_batch_size", *facts_of_settings(lambda one: one.in_ladder))
MIN_SWITCHES = 2
"""Fewer are no ladder but a comparison of two configurations, or a series of batches."""


@dataclass(frozen=True, eq=False)
class OneChange:
    """Two rows that differ in one fact. `before` has the usual value, the smaller number, or was run first."""

    fact: str
    before: Row
    after: Row
    is_from_first: bool
    """Whether `before` has the first of all values of this fact, which the page compares all others with."""

    @property
    def values(self) -> tuple:
        """The fact's value before and after."""
        return configuration(self.before.record)[self.fact], configuration(self.after.record)[self.fact]


def one_changes(rows: Sequence[Row]) -> list[OneChange]:
    """All pairs among rows that are valid; facts in the order in which `docs/tables.md` has them."""
    known = [(row, _facts(row)) for row in rows if row.is_valid]
    names = dict.fromkeys(name for _, facts in known for name in facts if name not in MUST_AGREE)
    return [pair for name in names for pair in _pairs(name, known)]


def _facts(row: Row) -> dict:
    """What tells configurations apart, each of DDP's options as a fact of its own."""
    ddp, every = row.record.config.ddp, configuration(row.record)
    left_out = ("global_batch_size", OPTIONS, *ASIDE)  # the global batch follows from the batch per device
    facts = {name: value for name, value in every.items() if name not in left_out and value is not None}
    return facts | {name: getattr(ddp, name) for name in USUAL_OPTIONS if ddp}


def _pairs(name: str, known: Sequence[tuple[Row, dict]]) -> Iterator[OneChange]:
    fact = OPTIONS if name in USUAL_OPTIONS else name
    alike: dict[frozenset, dict] = {}
    for row, facts in known:
        if name in facts:
            others = frozenset(facts.items() - {(name, facts[name])})
            alike.setdefault(others, {}).setdefault(facts[name], []).append(row)

    def order(value: Any, rows: Sequence[Row]) -> tuple:
        size = PRECISIONS.index(value) if value in PRECISIONS else value if isinstance(value, int | float) else 0
        return value != (USUAL | USUAL_OPTIONS).get(name, value), size, min(map(_began, rows))

    for by_value in alike.values():
        values = sorted(by_value, key=lambda value: order(value, by_value[value]))[:MAX_VALUES]
        for first, second in combinations(values, 2):
            for row in by_value[second]:
                before = closest({name: row.facts[name] for name in ASIDE}, by_value[first])
                yield OneChange(fact, before, row, is_from_first=first == values[0])


def _began(one: Row | Run) -> str:
    return (one.runs[0] if isinstance(one, Row) else one).record.started_at


def change_line(pair: OneChange) -> Line:
    """A pair as a line of one_change.csv, by column."""
    before, after = pair.before, pair.after
    return {
        "fact": pair.fact, "before": pair.values[0], "after": pair.values[1],
        "method": after.method, "devices": after.devices,
        **group_key(before.record, "weak"), OPTIONS: before.facts.get(OPTIONS),
        **with_ends("times_as_fast", speedup(after, before, common_rounds(after, before))),
        "in_turn": bool(paired_runs(after.runs, before.runs)),
        **of_side("before", before),
        **of_side("after", after),
    }  # fmt: skip


@dataclass(frozen=True, eq=False)
class Trial:
    """One switch that was tried: a rung of the ladder, as the page calls it."""

    fact: str
    values: tuple
    """Before and after."""
    outcome: str
    """`kept`, or why not: the outcome of its ratio, or `failed`."""
    row: Row | None = None
    """None where it did not run."""
    quotient: Estimate | None = None
    """Its throughput over that of what stood."""
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
    alike = grouped((row for row in rows if not row.is_parallel and row.is_valid), lambda row: _settings(row.record))
    broken = [run for run in runs if run.record.status == "failed" and not METHODS[run.record.method].is_parallel]
    failed = grouped(broken, lambda run: _settings(run.record))
    ladders = [_ladder(of_settings, failed.get(settings, [])) for settings, of_settings in alike.items()]
    ladders = [ladder for ladder in ladders if any(trial.row and not trial.row.missing_runs for trial in ladder.trials)
               and len({trial.fact for trial in ladder.trials}) >= MIN_SWITCHES]  # fmt: skip
    return max(ladders, key=lambda ladder: len(ladder.trials), default=None)


def _settings(record: Record) -> tuple:
    """Everything but the switches, and but what follows from the batch."""
    return tuple(value for name, value in configuration(record).items() if name not in (*SWITCHES, "global_batch_size"))


def _switches(one: Row | Run) -> dict:
    facts = configuration(one.record)
    return {name: facts[name] for name in SWITCHES}


def _ladder(rows: Sequence[Row], failed: Sequence[Run]) -> Ladder:
    done = list(map(_switches, rows))
    tries: list[Row | Run] = [*rows, *(run for run in failed if _switches(run) not in done)]
    standing = first = min(rows, key=_began)
    trials: list[Trial] = []
    for one in sorted(tries, key=_began):  # `first` among them, which is no trial above itself
        before, after = _switches(standing), _switches(one)
        changed = [name for name in SWITCHES if before[name] != after[name]]
        if len(changed) != 1 or (changed == ["per_device_batch_size"] and after[changed[0]] < before[changed[0]]):
            continue  # more than one switch, or back to a smaller batch
        fact, values = changed[0], (before[changed[0]], after[changed[0]])
        if isinstance(one, Row):
            quotient = speedup(one, standing, common_rounds(one, standing))
            outcome = outcome_of_ratio(quotient)
            is_kept = outcome == "faster" and not one.missing_runs
            trials.append(Trial(fact, values, "kept" if is_kept else outcome, one, quotient))
            standing = one if is_kept else standing
        elif (fact, values) not in [(other.fact, other.values) for other in trials]:
            trials.append(Trial(fact, values, "failed", failed=one))
    goal = _switches(standing) | {"per_device_batch_size": first.record.config.per_device_batch_size}
    return Ladder(first, trials, standing, next((row for row in rows if _switches(row) == goal), None))
