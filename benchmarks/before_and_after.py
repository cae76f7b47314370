"""How often does `05 --against` find a slow-down where there is none, and one of 5 % with the runs that it asks for?

Pure numbers: launches that differ by chance, with the functions of step 05. Launches differ by a normal
deviation of --noise in logarithms; on one side by three times as much; one in twenty is slowed by 15 %; or "recorded":
by what launches of one configuration differ by in results/examples, each over the square root of 1 − 1/launches, drawn
anew.

The first table has equals (A/A): the share whose whole interval lies below 1, "slower"; that where it leaves out 1 on
either side, "differs"; and the share below 0.95. "As asked for": three runs a side are made, then so many as they ask
for, all anew. "Until enough": runs are added as long as more are asked for, up to a hundred, so that the same runs are
looked at again and again. Behind a share in brackets: mean runs a side. The second table has a slow-down of 5 %: the
share found, and the share missed, "not slower" with runs enough; of the rest more runs are asked for.

The last lines are what the interval cannot know: days that differ, whatever is measured. In turn the days cancel.

    python benchmarks/before_and_after.py [--trials 2000] [--noise 0.01] [--seed 0]

Ends with 1 if equals are called slower in more than 6 % of the trials, by any plan but "until enough"; if more than
10 % of the slow-downs are missed; or if "until enough" finds less than 90 % of them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))
from common.analysis.comparing.groups import compare_runs
from common.analysis.reading.folder import read_folder
from common.analysis.statistics.estimates import (
    LEAST,
    MOST,
    Estimate,
    distinguishable,
    limit_outcome,
    mean_of_runs,
    paired_ratio,
    ratio,
    runs_needed,
)

EXAMPLES = Path(__file__).parents[1] / "results" / "examples"
FIXED = (3, 4, 5, 7, 10)
SLOWER = 0.95
MAX_FALSE, MAX_MISSED, LEAST_FOUND = 0.06, 0.1, 0.9
UNTIL = "until enough"
DAY = 0.01
"""Standard deviation of what two days differ by."""
Launches = Callable[[np.random.Generator, int, bool], np.ndarray]
"""Logarithms of what so many launches take more than usual, of the side after or before."""


@dataclass
class Trial:
    """A comparison at its end."""

    quotient: Estimate
    runs: int
    needed: int | None

    def outcome_at(self, limit: float) -> str:
        return limit_outcome(self.quotient, limit, self.runs, self.needed)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=2000, help="comparisons for each cell (default: %(default)s)")
    parser.add_argument("--noise", type=float, default=0.01, help="between launches (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the simulation (default: %(default)s)")
    options = parser.parse_args()
    rng, console = np.random.default_rng(options.seed), Console(highlight=False, width=110)
    of_examples = recorded_deviations()
    console.print(
        f"recorded: {len(of_examples)} launches of results/examples, standard deviation {of_examples.std():.2%}"
    )
    noises = kinds_of_noise(options.noise, of_examples)
    plans = {str(runs): of_fixed(runs) for runs in FIXED}
    plans |= {"as asked for": as_asked_for, UNTIL: until_enough, "in turn, as asked for": in_turn}
    equals = {name: [trials_of(rng, plan, noise, 1.0, options.trials) for noise in noises.values()]
              for name, plan in plans.items()}  # fmt: skip
    planted = {name: [trials_of(rng, plan, noise, SLOWER, options.trials) for noise in noises.values()]
               for name, plan in plans.items() if not name.isdigit()}  # fmt: skip
    console.print(table_of_shares("Equals: slower / differs / below 0.95, %", noises, equals, of_equals))
    console.print(table_of_shares("A slow-down of 5 %: found / missed, %", noises, planted, of_slower))
    for name, plan in (("five runs a side", of_fixed(5)), ("five rounds in turn", in_turn_of(5))):
        trials = trials_of(rng, plan, with_days(noises["normal"]), 1.0, options.trials)
        console.print(f"equals on days that differ by {DAY:.0%}, {name}: {share(trials, 'below'):.1%} slower")
    false = max(share(trials, "below") for name, of_plan in equals.items() if name != UNTIL for trials in of_plan)
    missed = max(share(trials, "not_below") for of_plan in planted.values() for trials in of_plan)
    found = min(share(trials, "below") for trials in planted[UNTIL])
    return int(false > MAX_FALSE or missed > MAX_MISSED or found < LEAST_FOUND)


def recorded_deviations() -> np.ndarray:
    """Logarithms of how launches of one configuration differ from their mean, of three launches or more."""
    deviations: list[float] = []
    for folder in sorted(path for path in EXAMPLES.iterdir() if path.is_dir()):
        for row in compare_runs(read_folder(folder)).configurations:
            seconds = np.log([run.seconds_per_sample.value for run in row.runs])
            if row.is_valid and len(seconds) >= LEAST:
                deviations += list((seconds - seconds.mean()) / np.sqrt(1 - 1 / len(seconds)))
    return np.array(deviations)


def kinds_of_noise(noise: float, recorded: np.ndarray) -> dict[str, Launches]:
    return {
        "normal": lambda rng, runs, is_after: rng.normal(0, noise, runs),
        "three times": lambda rng, runs, is_after: rng.normal(0, 3 * noise if is_after else noise, runs),
        "1 in 20": lambda rng, runs, is_after: rng.normal(0, noise, runs) + np.log(1.15) * (rng.random(runs) < 0.05),
        "recorded": lambda rng, runs, is_after: rng.choice(recorded, runs),
    }


def with_days(launches: Launches) -> Launches:
    """The same launches, all of a side on one day."""
    return lambda rng, runs, is_after: launches(rng, runs, is_after) + rng.normal(0, DAY)


Plan = Callable[[np.random.Generator, Launches, float], Trial]


def compared(before: np.ndarray, after: np.ndarray) -> Trial:
    """As step 05 compares unpaired runs, from seconds a sample."""
    sides = [mean_of_runs([Estimate(float(second)) for second in side]) for side in (before, after)]
    return Trial(ratio(*sides), len(before), runs_needed(sides))


def measured(rng: np.random.Generator, launches: Launches, runs: int, speed: float) -> tuple[np.ndarray, np.ndarray]:
    return np.exp(launches(rng, runs, False)), np.exp(launches(rng, runs, True)) / speed


def of_fixed(runs: int) -> Plan:
    return lambda rng, launches, speed: compared(*measured(rng, launches, runs, speed))


def as_asked_for(rng: np.random.Generator, launches: Launches, speed: float) -> Trial:
    """Three runs a side, and then as many as they ask for."""
    needed = compared(*measured(rng, launches, LEAST, speed)).needed
    return compared(*measured(rng, launches, needed or MOST, speed))


def until_enough(rng: np.random.Generator, launches: Launches, speed: float) -> Trial:
    """Runs are added as long as nothing is decided."""
    every = measured(rng, launches, MOST, speed)
    runs = LEAST
    while True:
        trial = compared(*(side[:runs] for side in every))
        if runs == MOST or limit_outcome(trial.quotient, 1.0, runs, trial.needed) != "undecided":
            return trial
        runs = min(MOST, max(runs + 1, trial.needed or MOST))


def in_turn_of(runs: int) -> Plan:
    """Both sides in each round, and so on one day."""

    def plan(rng: np.random.Generator, launches: Launches, speed: float) -> Trial:
        day = rng.normal(0, DAY)
        pairs = [measured(rng, launches, 1, speed) for _ in range(runs)]
        before, after = (np.exp(day) * np.concatenate(side) for side in zip(*pairs, strict=True))
        quotient = paired_ratio(before, after)
        return Trial(quotient, runs, runs_needed([quotient]))

    return plan


def in_turn(rng: np.random.Generator, launches: Launches, speed: float) -> Trial:
    needed = in_turn_of(LEAST)(rng, launches, speed).needed
    return in_turn_of(needed or MOST)(rng, launches, speed)


def trials_of(rng: np.random.Generator, plan: Plan, launches: Launches, speed: float, count: int) -> list[Trial]:
    return [plan(rng, launches, speed) for _ in range(count)]


def share(trials: Sequence[Trial], outcome: str, limit: float = 1.0) -> float:
    return float(np.mean([trial.outcome_at(limit) == outcome for trial in trials]))


def of_equals(trials: Sequence[Trial]) -> list[float]:
    differs = float(np.mean([bool(distinguishable(trial.quotient)) for trial in trials]))
    return [share(trials, "below"), differs, share(trials, "below", 0.95)]


def of_slower(trials: Sequence[Trial]) -> list[float]:
    return [share(trials, "below"), share(trials, "not_below")]


def table_of_shares(
    title: str, headers: Iterable[str], shares: Mapping[str, Sequence[Sequence[Trial]]],
    figures: Callable[[Sequence[Trial]], list[float]],
) -> Table:  # fmt: skip
    """A line for each plan."""
    table = Table(title=title)
    for header in ("runs a side", *headers):
        table.add_column(header)
    for name, of_plan in shares.items():
        cells = [" / ".join(f"{100 * figure:.1f}" for figure in figures(trials)) for trials in of_plan]
        if not name.isdigit():
            runs = [np.mean([trial.runs for trial in trials]) for trials in of_plan]
            cells = [f"{cell} ({mean:.1f})" for cell, mean in zip(cells, runs, strict=True)]
        table.add_row(name, *cells)
    return table


if __name__ == "__main__":
    sys.exit(main())
