"""What the rounds of `make lab` have shown so far, and how well: the three ratios as step 05 forms them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING

from common.records import METHODS, Record, seconds_per_sample

if TYPE_CHECKING:
    from common.analysis.statistics.estimates import Estimate

RATIOS = {"DP": ("03", "02"), "DDP": ("04", "02"), "DDP / DP": ("04", "03")}
"""Whose throughput is divided by whose, by step."""
MIN_ROUNDS = 3
"""Of two, an interval has one degree of freedom and says nothing: where launches differed by a fifth, ± 35,777 %."""


class RoundRatios:
    """Throughput ratios over paired rounds. A round counts once all three of its runs are there."""

    def __init__(self) -> None:
        self._seconds: dict[str, list[float]] = {"02": [], "03": [], "04": []}
        """Per sample, by step, one for each round."""

    @property
    def rounds(self) -> int:
        """How many count."""
        return len(self._seconds["02"])

    def add(self, records: Iterable[Record]) -> None:
        """Enter the runs of one round."""
        # A method with a flag of its own shares its step with another, which is the one that is compared.
        completed = (one for one in records if one.status == "completed" and not METHODS[one.method].flags)
        known = ((record.step, seconds_per_sample(record)) for record in completed)
        of_round: dict[str, float] = {step: seconds for step, seconds in known if seconds}
        if all(step in of_round for step in self._seconds):
            for step, seconds in self._seconds.items():
                seconds.append(of_round[step])

    def ratio(self, name: str) -> Estimate:
        """One of `RATIOS`; without an interval below `MIN_ROUNDS`. ValueError before the first round."""
        # Imported this late: it takes numpy and scipy with it, which nothing else here needs.
        from common.analysis.statistics.estimates import Estimate, paired_ratio

        faster, slower = (self._seconds[step] for step in RATIOS[name])
        if self.rounds < MIN_ROUNDS:
            return Estimate(fmean(slower) / fmean(faster))
        return paired_ratio(slower, faster)

    def widest(self) -> tuple[str, float]:
        """The ratio that is known least well, and its half interval, from `MIN_ROUNDS` on."""
        return max(((name, half_interval(self.ratio(name))) for name in RATIOS), key=lambda pair: pair[1])

    def after_another(self) -> float:
        """The widest half interval that one more round would leave, if it scatters like those before."""
        now, rounds = self.ratio(self.widest()[0]), self.rounds
        assert now.relative_error is not None
        error = now.relative_error * (rounds / (rounds + 1)) ** 0.5
        return half_interval(replace(now, relative_error=error, degrees_of_freedom=rounds))

    def in_words(self, one_device: str) -> str:
        """All of it in one line."""
        if not self.rounds:
            return "nothing yet, for a record is missing"
        dp, ddp, both = (_in_words(self.ratio(name)) for name in RATIOS)
        line = f"DP {dp}, DDP {ddp} {one_device}; DDP {both} DP"
        return line if self.rounds >= MIN_ROUNDS else f"{line}; intervals from {MIN_ROUNDS} rounds on"


def half_interval(ratio: Estimate) -> float:
    """How far the upper end of the 95 % interval lies above the value, as a share of it."""
    interval = ratio.interval
    assert interval is not None
    return interval[1] / ratio.value - 1


def _in_words(ratio: Estimate) -> str:
    ends = ratio.interval
    return f"{ratio.value:.2f} ×" + (f" ({ends[0]:.2f}–{ends[1]:.2f})" if ends else "")
