"""Estimates with 95 % intervals, their ratios and what may be said of these, outliers, and how many runs are needed.

An estimate carries its standard error relative to its value. Times, rates, speed-ups and efficiencies are all positive
and are all compared by ratio, so that one form serves them: value × exp(± t · relative error). The interval of a rate
is then exactly the reciprocal of the interval of its time. How often these intervals hold the truth is measured by
benchmarks/interval_coverage.py, how often plans hold by benchmarks/before_and_after.py.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median
from typing import Literal, Self

import numpy as np
from scipy.special import chdtri, nctdtr, stdtrit

CONFIDENCE = 0.95
NARROW = 0.05
"""Half an interval, as a share of what it is compared with: up to here "no measurable effect" may be said. A wider one
holds effects that matter, and only says that too little is known."""
POWER, SURE = 0.9, 0.8
LEAST, MOST = 3, 100
"""Runs that are planned."""
Outcome = Literal["faster", "slower", "no_difference", "uncertain", "too_few_runs"]
LimitOutcome = Literal["below", "not_below", "undecided"]
MIN_BATCHES, MAX_BATCHES = 4, 12
STEPS_PER_BATCH = 20
"""Batches shorter than this hide autocorrelation, so a short run is cut into fewer batches, never below four."""


@dataclass(frozen=True)
class Estimate:
    """A positive number with what is known of its error."""

    value: float
    relative_error: float | None = None
    """Standard error divided by the value; None where there was too little to tell."""
    degrees_of_freedom: float = math.inf

    @property
    def interval(self) -> tuple[float, float] | None:
        """Both ends of the 95 % interval, in the unit of the value; None where the error is not known."""
        if self.relative_error is None:
            return None
        reach = math.exp(student_quantile(self.degrees_of_freedom) * self.relative_error)
        return self.value / reach, self.value * reach

    @property
    def bounds(self) -> tuple[float, float]:
        """Both ends of the interval; without one, the value is both."""
        return self.interval or (self.value, self.value)

    def scaled(self, factor: float) -> Self:
        """The same estimate in another unit; `factor` is a positive constant without error."""
        return replace(self, value=self.value * factor)

    def inverse(self) -> Self:
        """1 / the estimate: seconds per sample become samples per second."""
        return replace(self, value=1 / self.value)


def student_quantile(degrees_of_freedom: float, confidence: float = CONFIDENCE) -> float:
    """Two-sided quantile of Student's t."""
    return float(stdtrit(degrees_of_freedom, (1 + confidence) / 2))


def mean_of_steps(seconds: Sequence[float]) -> Estimate:
    """Mean of one run's step times by the method of batch means; without an error below four steps.

    Step times are autocorrelated, so that their plain standard error is too small; means over long enough batches are
    nearly independent. Batches differ by at most one step in length and are weighted by it (ratio estimator).
    Source: Law, Simulation Modeling and Analysis, section 9.5.3. ValueError where there are no steps.
    """
    if len(seconds) == 0:
        raise ValueError("no steps")
    values = np.asarray(seconds, dtype=float)
    mean = float(values.mean())
    if len(values) < MIN_BATCHES or mean == 0:
        return Estimate(mean)
    batches = min(MAX_BATCHES, max(MIN_BATCHES, len(values) // STEPS_PER_BATCH))
    edges = np.arange(batches + 1) * len(values) // batches
    totals, lengths = np.add.reduceat(values, edges[:-1]), np.diff(edges)
    deviations = (totals - lengths * mean) / lengths.mean()
    error = math.sqrt(float(np.sum(deviations**2)) / (batches * (batches - 1)))
    return Estimate(mean, error / mean, batches - 1)


def mean_of_runs(runs: Sequence[Estimate]) -> Estimate:
    """Mean over repeated runs of one configuration.

    Three or more: Student's t over the runs' values, which contains the difference between runs. One or two: from the
    runs' own errors alone, so that it knows nothing of the difference between runs; but two that contradict each other
    have shown that there is one, and are treated like three or more. ValueError where there are none.
    """
    mean = fmean(run.value for run in runs)
    if len(runs) >= 3 or (len(runs) == 2 and distinguishable(ratio(*runs))):
        error = math.sqrt(math.fsum((run.value - mean) ** 2 for run in runs) / (len(runs) - 1) / len(runs))
        return Estimate(mean, error / mean, len(runs) - 1)
    if len(runs) == 1 or any(run.relative_error is None for run in runs):
        return runs[0] if len(runs) == 1 else Estimate(mean)
    errors = [run.relative_error * run.value / (len(runs) * mean) for run in runs]
    return Estimate(mean, math.hypot(*errors), welch_satterthwaite(errors, [run.degrees_of_freedom for run in runs]))


def ratio(numerator: Estimate, denominator: Estimate) -> Estimate:
    """numerator / denominator of two independent estimates, through logarithms: relative errors add in quadrature."""
    value = numerator.value / denominator.value
    if numerator.relative_error is None or denominator.relative_error is None:
        return Estimate(value)
    errors = [numerator.relative_error, denominator.relative_error]
    degrees = [numerator.degrees_of_freedom, denominator.degrees_of_freedom]
    return Estimate(value, math.hypot(*errors), welch_satterthwaite(errors, degrees))


def paired_ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Estimate:
    """Mean of `numerators` / mean of `denominators`, where the k-th of both were measured one right after the other.

    What a pair has in common, a machine that slowed down or a neighbour that came, cancels out of its quotient; treated
    as independent, runs of a drifting machine differ by more than chance and name winners that there are not. Error: of
    the ratio estimator, from the scatter of n_k / mean(n) - d_k / mean(d), with one degree of freedom less than pairs
    (Cochran, Sampling Techniques, section 6.3). ValueError for lists of different lengths, or for fewer than two pairs.
    """
    if len(numerators) != len(denominators) or len(numerators) < 2:
        raise ValueError(f"{len(numerators)} and {len(denominators)} values are not two pairs or more")
    above, below = np.asarray(numerators, dtype=float), np.asarray(denominators, dtype=float)
    scatter = above / above.mean() - below / below.mean()
    error = float(np.std(scatter, ddof=1)) / math.sqrt(len(scatter))
    return Estimate(float(above.mean() / below.mean()), error, len(scatter) - 1)


def welch_satterthwaite(errors: Sequence[float], degrees: Sequence[float]) -> float:
    """Degrees of freedom of a sum of independent terms, (Σe²)² / Σ(e⁴/ν); the smallest ν where no term has an error."""
    total = math.fsum(error**2 for error in errors)
    if total == 0:
        return min(degrees)
    return 1 / math.fsum((error**2 / total) ** 2 / nu for error, nu in zip(errors, degrees, strict=True))


def distinguishable(quotient: Estimate) -> bool | None:
    """Whether the interval of a ratio leaves out 1; None where it has no interval."""
    interval = quotient.interval
    return None if interval is None else not interval[0] <= 1 <= interval[1]


def outcome_of_ratio(quotient: Estimate) -> Outcome:
    """What may be said of a ratio of speeds: a difference; none that shows; or that nobody knows.

    A ratio has no interval where one of its sides has fewer than three runs.
    """
    differs = distinguishable(quotient)
    if differs is None:
        return "too_few_runs"
    if differs:
        return "faster" if quotient.value > 1 else "slower"
    return "no_difference" if is_narrow(quotient.interval, quotient.value) else "uncertain"


def is_narrow(interval: tuple[float, float], whole: float) -> bool:
    """Whether half an interval is at most `NARROW` of `whole`."""
    return (interval[1] - interval[0]) / 2 <= NARROW * whole


def limit_outcome(quotient: Estimate, limit: float, runs: int, needed: int | None) -> LimitOutcome:
    """Whether a ratio is below a limit: its whole interval is. Not below: no part of the interval is, or there are as
    many `runs` on each side (or pairs) as `runs_needed` asks for, and they would have shown a difference that matters.
    """
    interval = quotient.interval
    if interval and interval[1] < limit:
        return "below"
    has_enough = needed is not None and runs >= needed
    return "not_below" if interval and (interval[0] >= limit or has_enough) else "undecided"


def runs_needed(sides: Sequence[Estimate]) -> int | None:
    """Runs on each side (or pairs) after which the whole interval of a ratio lies below a limit in nine of ten cases,
    if the ratio is less than the limit by `NARROW` of it. None for more than `MOST`.

    `sides`: the mean of each side over its runs, three or more; or the ratio over pairs, alone. By noncentral t
    (Julious, Sample Sizes for Clinical Trials, chapters 3 and 4). Few runs know their own scatter badly, and half of
    them think it smaller than it is: so it is planned with the upper end of the scatter's one-sided interval of `SURE`
    (Browne, Statistics in Medicine 14, 1995).
    """
    spread = [side.relative_error * math.sqrt(side.degrees_of_freedom + 1) for side in sides]
    known = welch_satterthwaite(spread, [side.degrees_of_freedom for side in sides])
    scatter = math.hypot(*spread) * math.sqrt(known / float(chdtri(known, SURE)))
    if scatter == 0:
        return LEAST

    def power(runs: int) -> float:
        """Probability that the interval's upper end is below a limit that lies so much above the truth."""
        degrees = welch_satterthwaite(spread, [runs - 1] * len(spread))
        distance = -math.log1p(-NARROW) * math.sqrt(runs) / scatter
        return 1 - float(nctdtr(degrees, distance, student_quantile(degrees)))

    possible = range(LEAST, MOST + 1)
    place = bisect_left(possible, POWER, key=power)
    return possible[place] if place < len(possible) else None


def outliers(runs: Sequence[Estimate]) -> list[bool]:
    """For each of three or more repeats: is it further from their median than the others' scatter explains?

    Scatter is the larger of 1.4826 × the median absolute deviation and the runs' own typical error; the limit is 3.5 of
    it (Iglewicz and Hoaglin 1993), and at least 5 % of the median, so that a very quiet machine does not mark trifles.
    Below three runs nobody can say which one is an outlier.
    """
    if len(runs) < 3:
        return [False] * len(runs)
    middle = median(run.value for run in runs)
    deviations = [abs(run.value - middle) for run in runs]
    scatter = max(1.4826 * median(deviations), median((run.relative_error or 0) * run.value for run in runs))
    return [deviation > max(3.5 * scatter, 0.05 * middle) for deviation in deviations]
