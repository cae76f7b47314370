"""Configurations of two folders side by side: which are the same, their ratio, and what a limit says of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product, starmap
from pathlib import Path
from typing import Literal

from common.analysis.comparing.facts import MAX_CANDIDATES, Fact, Facts, configuration, grouped
from common.analysis.comparing.groups import compare_runs
from common.analysis.comparing.rows import Row
from common.analysis.comparing.speedup import Pairs, common_rounds
from common.analysis.reading.folder import Folder
from common.analysis.sections.changes import Effect
from common.analysis.statistics.estimates import LEAST, Estimate, LimitOutcome, limit_outcome, mean_of_runs, runs_needed
from common.errors import UsageError
from common.formats import plural

MAY_DIFFER = (
    "device_model", "driver", "torch", "torchvision", "cuda", "cudnn", "nccl", "python", "machine", "cpu_model",
    "cpu_cores", "cpu_quota", "interpreter_lock", "variables", "transport", "backend", "backend_class",
    "threads_per_device", "loader_workers_per_device", "model_source", "samples_per_epoch", "epochs", "warmup_steps",
)  # fmt: skip
"""What two environments, two versions of a program, or two defaults may differ in, and is then said. All else that
tells configurations apart must agree."""


@dataclass(frozen=True, eq=False)
class Match:
    """One configuration, before and after."""

    before: Row
    after: Row

    @cached_property
    def effect(self) -> Effect:
        """Its speed and memory after, compared with before: launches are the unit. Rounds that ran both in turn are
        pairs; otherwise each side's mean has Student's t over its launches, and the ratio adds their relative errors in
        quadrature, with Welch's degrees of freedom."""
        return Effect(self.after, self.before)

    @property
    def quotient(self) -> Estimate:
        """Throughput after / throughput before."""
        return self.effect.quotient

    @cached_property
    def differences(self) -> dict[str, tuple[Fact, Fact]]:
        """Values before and after of each fact that both have and that differs; machines by their hosts, where these
        differ."""
        first, second = configuration(self.before.record), configuration(self.after.record)
        hosts = self.before.record.environment.hostname, self.after.record.environment.hostname
        differing = {name: (first[name], second[name]) for name in MAY_DIFFER
                     if first[name] != second[name] and None not in (first[name], second[name])}  # fmt: skip
        if "machine" in differing and hosts[0] != hosts[1]:
            differing["machine"] = hosts
        return differing

    @cached_property
    def pairs(self) -> Pairs:
        """Runs of the rounds that ran both in turn; empty where the ratio is not over pairs."""
        return common_rounds(self.after, self.before)

    @cached_property
    def needed(self) -> int | None:
        """Pairs, or without pairs runs on each side, that would show a difference that matters, those that were made
        included; None for more than a hundred."""
        if self.before.missing_runs or self.after.missing_runs:
            return LEAST
        sides = [mean_of_runs([run.seconds_per_sample for run in row.runs]) for row in (self.before, self.after)]
        return runs_needed([self.quotient] if self.pairs else sides)

    @property
    def lacks(self) -> Literal["least", "some", "most"]:
        """What would show it: the runs without which nobody knows how launches differ; some; or more than anybody
        makes."""
        if self.before.missing_runs or self.after.missing_runs:
            return "least"
        return "some" if self.needed else "most"

    def outcome_at(self, limit: float) -> LimitOutcome:
        """Whether it fell below `limit` times its throughput before; undecided where more runs would decide."""
        runs = len(self.pairs) or min(len(self.before.runs), len(self.after.runs))
        return limit_outcome(self.quotient, limit, runs, self.needed)


@dataclass(frozen=True, eq=False)
class BeforeAfter:
    """Two folders, before and after."""

    matches: list[Match]
    not_compared: dict[Literal["only_before", "only_after", "withheld"], list[Row]]
    """By the reason; `withheld`: rows of either side whose speed a self-check withholds."""
    lost: dict[Literal["missing", "withheld"], list[Row]]
    """What cannot be compared any more: rows before whose configuration has no row after, not even one whose speed is
    withheld; and rows after that are withheld, of a configuration whose speed before is valid."""
    repeated: int
    """Runs of the folder after that are in the one before, too: they belong to that side alone."""


def compare_folders(before: Folder, after: Folder, names: tuple[Path, Path]) -> BeforeAfter:
    """Match what the folders hold. UsageError where they have no configuration in common; `names`: of both."""
    known = {run.record.run_id for run in before.runs}
    new = [run for run in after.runs if run.record.run_id not in known]
    if not new:
        runs = plural(len(after.runs), "run")
        raise UsageError(f"{names[0]} holds all that {names[1]} has ({runs}): nothing is left to compare")
    earlier, later = compare_runs(before), compare_runs(replace(after, runs=new))
    matches = matched(earlier.configurations, later.configurations)
    withheld = matched(earlier.configurations, later.withheld)
    if not matches and not withheld:
        differences = nearest(earlier.configurations, later.configurations)
        raise UsageError(
            f"no configuration was measured in both {names[0]} and {names[1]}{differences}: "
            "run the same steps with the same flags for both"
        )
    compared, not_valid_later = ({match.before for match in pairs} for pairs in (matches, withheld))
    only_before = [row for row in earlier.configurations if row not in compared]
    in_both = {match.after for match in matches}
    return BeforeAfter(
        matches,
        not_compared={
            "only_before": only_before,
            "only_after": [row for row in later.configurations if row not in in_both],
            "withheld": earlier.withheld + later.withheld,
        },
        lost={"missing": [row for row in only_before if row not in not_valid_later],
              "withheld": [match.after for match in withheld]},
        repeated=len(after.runs) - len(new),
    )  # fmt: skip


def matched(before: Sequence[Row], after: Sequence[Row]) -> list[Match]:
    """The same configurations, before and after, in the order of `after`; each row is in one match at most.

    Of several that fit, those that differ least are a match; of equals the newest.
    """
    earlier, later = (grouped(rows, lambda row: tuple(_work(row).values())) for rows in (before, after))
    matches, taken = list[Match](), set[Row]()
    for work, rows in later.items():
        newest = product(earlier.get(work, [])[: -MAX_CANDIDATES - 1 : -1], rows[: -MAX_CANDIDATES - 1 : -1])
        for match in sorted(starmap(Match, newest), key=lambda match: len(match.differences)):
            if taken.isdisjoint((match.before, match.after)):
                taken |= {match.before, match.after}
                matches.append(match)
    return sorted(matches, key=lambda match: after.index(match.after))


def _work(row: Row) -> Facts:
    """What two rows must agree in. For which campaign a run was made moves nothing."""
    every = {"device_kind": row.record.world.device_kind, **configuration(row.record)}
    return {name: value for name, value in every.items() if name not in (*MAY_DIFFER, "campaign")}


def nearest(before: Sequence[Row], after: Sequence[Row]) -> str:
    """In words, what keeps apart the two that come closest to one configuration; nothing where a side is empty."""
    works = ([_work(row) for row in rows[-MAX_CANDIDATES:]] for rows in (before, after))
    apart = ({name: (first[name], second[name]) for name in first if first[name] != second[name]}
             for first, second in product(*works))  # fmt: skip
    fewest = min(apart, key=len, default={})
    shown = ", ".join(f"{name} {one} and {other}" for name, (one, other) in sorted(fewest.items())[:3])
    return f" (the closest two differ in {shown})" if shown else ""
