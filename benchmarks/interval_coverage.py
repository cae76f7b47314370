"""How often do step 05's 95 % intervals hold the truth, and how often does `make lab` name a winner among equals?

First the intervals of one run. Simulates step times whose mean is known: autocorrelated (AR(1)), skewed (gamma, spread
5 %), one step in a hundred an outlier, that takes half as long again in the first table and three times as long in the
second. Each series gets the interval that step 05 would print for a run of that many steps; the tables show the share
of intervals that contain the true mean. The goal is 93 to 97 %. With 2,000 series a share is known to about ± 1 %.

The last column and the last lines test the rest of the chain: the ratio of two runs, and Student's t over repeated runs
that differ.

Then the design of `make lab`, with the functions that it runs: steps 02, 03 and 04 of one true speed, in rounds whose
order is drawn; what disturbs a launch depends on when it is started, and differs from launch to launch by --noise. The
table shows how often 02 and 04 would be told apart, by their paired ratio. 5 % is what 95 % intervals promise, 6 % the
limit. "Until ± 3 %": with the rule that ends `make lab`, where time allows at most so many rounds (three at least); in
brackets the mean number of rounds. "Unbalanced": each round's order drawn for itself, so that all may be alike, with
that rule. "Fixed": always 02, 03, 04. With 20,000 campaigns a share is known to about ± 0.3 %.

    python benchmarks/interval_coverage.py [--series 2000] [--campaigns 20000] [--noise 0.01] [--seed 0]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))
from common.analysis.statistics.estimates import Estimate, mean_of_runs, mean_of_steps, ratio, student_quantile
from common.campaigns.campaign import CAMPAIGNS
from common.campaigns.launches import PUBLISHED, drawn_orders
from common.campaigns.rounds import RATIOS

STEPS = (10, 20, 50, 100, 200, 500, 1000, 4000)
CORRELATIONS = (0.0, 0.3, 0.5, 0.7)
SPREAD, GAMMA_SHAPE, OUTLIERS = 0.05, 2.0, 0.01
OUTLIER_EXTRAS = (0.5, 2.0)
"""What an outlier adds to a step of mean 1."""
LAB = CAMPAIGNS["lab"]
ROUNDS = (3, 5, 7)
MAX_ROUNDS = (5, 7, 12)
DISTURBANCES: dict[str, Callable[[np.random.Generator, int, int], np.ndarray]] = {
    "nothing": lambda rng, series, launches: np.zeros((series, launches)),
    "drift 0.5 %": lambda rng, series, launches: np.tile(0.005 * np.arange(launches), (series, 1)),
    "drift 1 %": lambda rng, series, launches: np.tile(0.01 * np.arange(launches), (series, 1)),
    "walk": lambda rng, series, launches: rng.normal(0, 0.01, (series, launches)).cumsum(axis=1),
    "sine": lambda rng, series, launches: (
        0.02 * np.sin(2 * np.pi * (np.arange(launches) / 20 + rng.random((series, 1))))
    ),
    "1 in 20": lambda rng, series, launches: np.log(1.3) * (rng.random((series, launches)) < 0.05),
}
"""Logarithm of what each of so many launches in turn takes: a drift from each to the next, a random walk of 1 % a
launch, a sine of ± 2 % and 20 launches, one launch in twenty slowed by 30 %."""


def true_mean(extra: float) -> float:
    """Mean step time that `simulate` draws from."""
    return 1.0 + OUTLIERS * extra


def simulate(rng: np.random.Generator, series: int, steps: int, correlation: float, extra: float) -> np.ndarray:
    """Step times of mean `true_mean(extra)`, shape (series, steps): stationary AR(1), gamma noise, outliers."""
    burn_in = 30
    noise = (rng.gamma(GAMMA_SHAPE, 1.0, (series, steps + burn_in)) - GAMMA_SHAPE) / GAMMA_SHAPE**0.5
    wave = np.empty_like(noise)
    wave[:, 0] = noise[:, 0]
    for step in range(1, steps + burn_in):
        wave[:, step] = correlation * wave[:, step - 1] + (1 - correlation**2) ** 0.5 * noise[:, step]
    slow = rng.random((series, steps)) < OUTLIERS
    return 1.0 + SPREAD * wave[:, burn_in:] + extra * slow


def coverage(estimates: list[Estimate], truth: float) -> float:
    """Share of the intervals that contain `truth`."""
    return float(np.mean([low <= truth <= high for low, high in (estimate.interval for estimate in estimates)]))


def estimate_each(series: np.ndarray) -> list[Estimate]:
    return [mean_of_steps(row) for row in series]


def main() -> None:
    parser = argparse.ArgumentParser(description="Coverage of step 05's 95 % intervals on simulated step times.")
    parser.add_argument("--series", type=int, default=2000, help="simulated runs for each cell (default: %(default)s)")
    parser.add_argument("--campaigns", type=int, default=20_000, help="simulated make lab (default: %(default)s)")
    parser.add_argument("--noise", type=float, default=0.01, help="between launches (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the simulation (default: %(default)s)")
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    console = Console(highlight=False, width=100)
    for extra in OUTLIER_EXTRAS:
        console.print(coverage_table(rng, options.series, extra))
    for runs in (3, 5):
        covered = over_runs(rng, options.series // 2, runs)
        console.print(f"{runs} runs whose own means differ by 3 %, 100 steps each: {100 * covered:.1f} %")
    console.print(winners_table(np.random.default_rng(options.seed), options.campaigns, options.noise))


def coverage_table(rng: np.random.Generator, series: int, extra: float) -> Table:
    """Coverage for each number of steps and each correlation."""
    table = Table(title=f"Coverage of nominal 95 % intervals; 1 % of the steps take {1 + extra:g} times as long")
    table.add_column("steps", justify="right")
    for correlation in CORRELATIONS:
        table.add_column(f"AR(1) {correlation}", justify="right")
    table.add_column("ratio of two, AR(1) 0.5", justify="right")
    for steps in STEPS:
        cells = []
        for correlation in CORRELATIONS:
            one = estimate_each(simulate(rng, series, steps, correlation, extra))
            cells.append(coverage(one, true_mean(extra)))
        one, other = (estimate_each(simulate(rng, series, steps, 0.5, extra)) for _ in range(2))
        cells.append(coverage([ratio(a, b) for a, b in zip(one, other, strict=True)], 1.0))
        table.add_row(f"{steps:,}", *(f"{100 * cell:.1f} %" for cell in cells))
    return table


def over_runs(rng: np.random.Generator, series: int, runs: int) -> float:
    """Coverage of Student's t over repeated runs whose own means differ by 3 % (standard deviation)."""
    pooled = []
    for _ in range(series):
        own = rng.normal(1.0, 0.03, (runs, 1))
        pooled.append(mean_of_runs(estimate_each(simulate(rng, runs, 100, 0.5, OUTLIER_EXTRAS[0]) * own)))
    return coverage(pooled, true_mean(OUTLIER_EXTRAS[0]))


def winners_table(rng: np.random.Generator, campaigns: int, noise: float) -> Table:
    """How often equals are told apart: each design beside each disturbance."""
    table = Table(title=f"Campaigns that tell equals apart, %; launches differ by {100 * noise:g} %")
    table.add_column("rounds")
    most, tolerance = max(MAX_ROUNDS), (LAB.tolerance or 0) / 100
    drawn = drawn_places(rng, campaigns, most)
    unbalanced, fixed = np.argsort(rng.random(drawn.shape), axis=2), np.broadcast_to(np.arange(3), drawn.shape)
    cells: dict[str, list[str]] = {}
    for name, disturbance in DISTURBANCES.items():
        table.add_column(name, justify="right")
        slots = np.exp(disturbance(rng, campaigns, 3 * most) + rng.normal(0, noise, (campaigns, 3 * most)))
        in_drawn, in_any, in_fixed = (seconds_by_step(slots, places) for places in (drawn, unbalanced, fixed))
        shares = {f"drawn, {rounds}": share(told_apart(in_drawn, rounds)) for rounds in ROUNDS}
        shares |= {f"until ± 3 %, ≤ {rounds}": with_rule(in_drawn, tolerance, rounds) for rounds in MAX_ROUNDS}
        shares |= {f"unbalanced, ≤ {rounds}": with_rule(in_any, tolerance, rounds) for rounds in MAX_ROUNDS}
        shares |= {f"fixed, {rounds}": share(told_apart(in_fixed, rounds)) for rounds in ROUNDS}
        for design, of_design in shares.items():
            cells.setdefault(design, []).append(of_design)
    for design, of_design in cells.items():
        table.add_row(design, *of_design)
    return table


def share(hits: np.ndarray) -> str:
    """In percent."""
    return f"{100 * hits.mean():.1f}"


def with_rule(seconds: np.ndarray, tolerance: float, most: int) -> str:
    """Share of campaigns that tell 02 and 04 apart when they end, and after how many rounds that is on average."""
    needed, possible = rounds_needed(seconds, tolerance, most), range(LAB.repeats, most + 1)
    hits = np.select([needed == rounds for rounds in possible], [told_apart(seconds, rounds) for rounds in possible])
    return f"{share(hits)} ({needed.mean():.1f})"


def drawn_places(rng: np.random.Generator, campaigns: int, rounds: int) -> np.ndarray:
    """Which step stands in each place of each round, as `make lab` draws it: shape (campaigns, rounds, 3)."""
    seeds = rng.integers(0, 2**40, campaigns)
    return np.array([list(islice(drawn_orders(3, int(seed)), rounds)) for seed in seeds])


def seconds_by_step(slots: np.ndarray, places: np.ndarray) -> np.ndarray:
    """What each step took in each round, (campaigns, rounds, 3), from what each slot took and who stood there."""
    return np.take_along_axis(slots.reshape(places.shape), np.argsort(places, axis=2), axis=2)


def paired(seconds: np.ndarray, slower: str, faster: str) -> tuple[np.ndarray, np.ndarray]:
    """`paired_ratio` of two methods in each campaign: the ratio's logarithm, and half of its interval there."""
    above, below = (seconds[:, :, PUBLISHED.index(method)] for method in (slower, faster))
    scatter = above / above.mean(axis=1, keepdims=True) - below / below.mean(axis=1, keepdims=True)
    rounds = seconds.shape[1]
    reach = student_quantile(rounds - 1) * scatter.std(axis=1, ddof=1) / rounds**0.5
    return np.log(above.mean(axis=1) / below.mean(axis=1)), reach


def told_apart(seconds: np.ndarray, rounds: int) -> np.ndarray:
    """Whether each campaign would name a winner between 02 and 04 after so many rounds."""
    value, reach = paired(seconds[:, :rounds], "single", "ddp")
    return np.abs(value) > reach


def rounds_needed(seconds: np.ndarray, tolerance: float, most: int) -> np.ndarray:
    """After how many rounds each campaign ends: as soon as no half interval is above `tolerance`, or at `most`."""
    needed = np.full(len(seconds), most)
    for rounds in range(most - 1, LAB.repeats - 1, -1):
        widest = np.max([paired(seconds[:, :rounds], one, other)[1] for other, one in RATIOS.values()], axis=0)
        needed[np.expm1(widest) <= tolerance] = rounds
    return needed


if __name__ == "__main__":
    main()
