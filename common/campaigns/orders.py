"""The order of a round's launches, drawn anew in each round: a randomised block design.

A machine drifts: it warms up, a neighbour comes. In a fixed order the last launch of every round meets more of that
than the first, and so equals differ. Drawn at random, the drift meets each alike in the long run; three rounds are no
long run, and could by chance all have one order. So places are balanced as well: the rounds are the lines of a random
Latin square, in which everyone stands in every place once (Cochran and Cox, Experimental Designs, chapter 4).
benchmarks/interval_coverage.py says what each design gives.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterator

MAX_SEED = 10**6
"""Seeds that are drawn lie below: short enough to type."""


def drawn_orders(count: int, seed: int | str) -> Iterator[list[int]]:
    """Round after round, without end: who of `count` comes first, second, … The same seed gives the same orders."""
    chance = random.Random(seed)
    while True:
        # A square in which each line is the one before, moved by one place; its lines and its columns are shuffled.
        lines, columns = (chance.sample(range(count), count) for _ in range(2))
        for line in lines:
            yield [(line + column) % count for column in columns]


def drawn_seed() -> int:
    """A seed for somebody who has none."""
    return secrets.randbelow(MAX_SEED)
