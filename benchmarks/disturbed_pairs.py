"""Does a comparison need a wider interval where some of its launches were disturbed? Simulated.

Two configurations are launched in rounds, in an order drawn anew in each round, and compared as the lab does it: pairs
of a round, Student's t over them. Launches differ by 1 % (standard deviation) of their own accord. A disturbance slows
some of them by a factor of up to 1.5: either it hits single launches at random, or it comes and goes and lasts for
several launches, whichever they are.

The argument: the order is drawn, so that a disturbance hits either side of a pair with equal chance. If the two are
equally fast, a pair's difference has a symmetric distribution around zero, and Student's t over few values of a
symmetric distribution with heavy tails names too few winners, not too many: one large value widens the interval by more
than it moves the mean. What is left to do is to count the power that a wider interval costs.

    python benchmarks/disturbed_pairs.py

Ends with 1 if any case without the rule names more than 6 % false winners.
"""

import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from rich.console import Console
from rich.table import Table

from common.analysis.statistics.estimates import student_quantile

ROUNDS = (3, 5, 7)
TRIALS = 40_000
OWN = 0.01
"""Standard deviation of launches that nobody disturbs."""
SLOWED = (1.05, 1.5)
"""By how much a disturbance slows a launch: any factor between."""
MARKED = 2.0
"""By how much the earlier rule widened the error where one launch or more was disturbed."""
Hits = Callable[[np.random.Generator, int], np.ndarray]


def main() -> int:
    rng = np.random.default_rng(1)
    table = Table(title=f"Winners among {TRIALS:,} comparisons, %: as they are / with the error doubled")
    for header in ("disturbance", "rounds", "equally fast", "5 % apart", "20 % apart"):
        table.add_column(header, justify="left" if header == "disturbance" else "right")
    worst = 0.0
    for name, hits in CASES.items():
        for rounds in ROUNDS:
            shares = [winners(rng, hits, rounds, gain) for gain in (1.0, 1.05, 1.2)]
            worst = max(worst, shares[0][0])
            table.add_row(name, str(rounds), *(f"{100 * plain:.1f} / {100 * wide:.1f}" for plain, wide in shares))
    Console(width=110).print(table)
    return int(worst > 0.06)


def winners(rng: np.random.Generator, hits: Hits, rounds: int, gain: float) -> tuple[float, float]:
    """Shares of the trials that name a winner: with the interval as it is, and with the error doubled where disturbed.

    Where one of the two is faster, only winners of the right side count.
    """
    order = rng.integers(0, 2, (TRIALS, rounds))  # who comes first
    own = np.exp(OWN * rng.normal(size=(TRIALS, 2 * rounds)))
    hit = hits(rng, rounds)
    seconds = (own * np.where(hit, rng.uniform(*SLOWED, own.shape), 1.0)).reshape(TRIALS, rounds, 2)
    first, second = seconds[..., 0], seconds[..., 1]
    slow, fast = np.where(order, first, second) * gain, np.where(order, second, first)
    means = slow.mean(axis=1), fast.mean(axis=1)
    scatter = slow / means[0][:, None] - fast / means[1][:, None]
    error = scatter.std(axis=1, ddof=1) / np.sqrt(rounds)  # of common.analysis.statistics.estimates.paired_ratio
    reach = student_quantile(rounds - 1) * error
    lead = np.log(means[0] / means[1])
    certain = np.abs(lead) if gain == 1 else lead
    wide = np.where(hit.any(axis=1), MARKED, 1.0) * reach
    return float(np.mean(certain > reach)), float(np.mean(certain > wide))


def single_launches(share: float) -> Hits:
    """Each launch is hit by this chance, whatever happened to the one before."""
    return lambda rng, rounds: rng.random((TRIALS, 2 * rounds)) < share


def comes_and_goes(length: float) -> Hits:
    """Busy and quiet times of so many launches in the mean, half of the time each (a Markov chain)."""

    def hits(rng: np.random.Generator, rounds: int) -> np.ndarray:
        changes = rng.random((TRIALS, 2 * rounds)) < 1 / length
        changes[:, 0] = rng.random(TRIALS) < 0.5
        return np.cumsum(changes, axis=1) % 2 == 1

    return hits


CASES: dict[str, Hits] = {
    "none": single_launches(0.0),
    "1 launch in 20": single_launches(0.05),
    "1 launch in 5": single_launches(0.2),
    "1 launch in 2": single_launches(0.5),
    "comes and goes, 2 launches": comes_and_goes(2),
    "comes and goes, 6 launches": comes_and_goes(6),
}

if __name__ == "__main__":
    sys.exit(main())
