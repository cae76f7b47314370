"""How often do step 05's 95 % intervals hold the truth?

Simulates step times whose mean is known: autocorrelated (AR(1)), skewed (gamma, spread 5 %), one step in a hundred an
outlier, that takes half as long again in the first table and three times as long in the second. Each series gets the
interval that step 05 would print for a run of that many steps; the tables show the share of intervals that contain the
true mean. The goal is 93 to 97 %. With 2,000 series a share is known to about ± 1 %.

The last column and the last lines test the rest of the chain: the ratio of two runs, and Student's t over repeated runs
that differ.

    python benchmarks/interval_coverage.py [--series 2000] [--seed 0]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))
from common.analysis.statistics.estimates import Estimate, mean_of_runs, mean_of_steps, ratio

STEPS = (10, 20, 50, 100, 200, 500, 1000, 4000)
CORRELATIONS = (0.0, 0.3, 0.5, 0.7)
SPREAD, GAMMA_SHAPE, OUTLIERS = 0.05, 2.0, 0.01
OUTLIER_EXTRAS = (0.5, 2.0)
"""What an outlier adds to a step of mean 1."""


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
    parser.add_argument("--seed", type=int, default=0, help="of the simulation (default: %(default)s)")
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    console = Console(highlight=False)
    for extra in OUTLIER_EXTRAS:
        console.print(coverage_table(rng, options.series, extra))
    for runs in (3, 5):
        share = over_runs(rng, options.series // 2, runs)
        console.print(f"{runs} runs whose own means differ by 3 %, 100 steps each: {100 * share:.1f} %")


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


if __name__ == "__main__":
    main()
