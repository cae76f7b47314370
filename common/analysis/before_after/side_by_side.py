"""Throughput before and after, with the ratio's interval, and what a limit says of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from common.analysis.before_after.matching import differing_facts, matched, nearest
from common.analysis.comparing.facts import Fact
from common.analysis.comparing.groups import build_groups, configurations, withheld_files
from common.analysis.comparing.rows import Row
from common.analysis.reading.folder import Folder
from common.analysis.sections.options import Effect, effect_of
from common.analysis.statistics.estimates import Estimate, mean_of_runs, ratio
from common.analysis.statistics.planning import LEAST, Judgement, judge, runs_needed
from common.errors import UsageError
from common.formats import plural

Difference = tuple[str, Fact, Fact]


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
        return effect_of(self.after, self.before)

    @cached_property
    def differences(self) -> dict[str, tuple[Fact, Fact]]:
        """What differs between the two all the same, before and after."""
        return differing_facts(self.before, self.after)

    @property
    def quotient(self) -> Estimate:
        """Throughput after / throughput before."""
        return self.effect.quotient

    @property
    def has_runs(self) -> bool:
        """Whether both sides were launched often enough to know how launches differ."""
        return not self.before.missing_runs and not self.after.missing_runs

    @cached_property
    def _scattered(self) -> list[Estimate]:
        """What the ratio's error is of: the mean of each side, or the ratio over pairs, alone."""
        sides = [mean_of_runs([run.seconds_per_sample for run in row.runs]) for row in (self.before, self.after)]
        return sides if self.quotient == ratio(*sides) else [self.quotient]

    @cached_property
    def needed(self) -> int | None:
        """Runs on each side, or pairs, that would show a difference that matters; None for more than a hundred."""
        return runs_needed(self._scattered) if self.has_runs else LEAST

    @property
    def runs(self) -> int:
        """Pairs, where the ratio is over pairs; else runs on the side that has fewer."""
        if self.has_runs and len(self._scattered) == 1:
            return round(self.quotient.degrees_of_freedom) + 1
        return min(len(self.before.runs), len(self.after.runs))

    def judged_by(self, limit: float) -> Judgement:
        """Whether it fell below `limit` times its throughput before; undecided where more runs would decide."""
        return judge(self.quotient, limit, self.runs, self.needed)


@dataclass(frozen=True, eq=False)
class BeforeAfter:
    """Two folders, before and after."""

    matches: list[Match]
    only_before: list[Row]
    only_after: list[Row]
    withheld: list[Row]
    """Rows whose speed a self-check withholds, of either side: they are not compared."""
    withheld_after: list[Row]
    """Those of them that are the configuration of a row before whose speed stands."""
    missing: list[Row]
    """Rows before whose configuration has no row after, not even one whose speed is withheld."""
    repeated: int
    """Runs of the folder after that stand in the one before, too: they belong to that side alone."""

    @property
    def differences(self) -> dict[Difference, list[Match]]:
        """What differs between both sides of a configuration, and in which ones it does."""
        found: dict[Difference, list[Match]] = {}
        for match in self.matches:
            for name, values in match.differences.items():
                found.setdefault((name, *values), []).append(match)
        return found


def compare_folders(before: Folder, after: Folder, names: tuple[Path, Path]) -> BeforeAfter:
    """Match what the folders hold. UsageError where they have no configuration in common; `names`: of both."""
    known = {run.record.run_id for run in before.runs}
    new = [run for run in after.runs if run.record.run_id not in known]
    if not new:
        runs = plural(len(after.runs), "run")
        raise UsageError(f"{names[0]} holds all that {names[1]} has ({runs}): nothing is left to compare")
    earlier, earlier_withheld = _rows(before)
    later, later_withheld = _rows(replace(after, runs=new))
    pairs, doubtful = matched(earlier, later), matched(earlier, later_withheld)
    if not pairs and not doubtful:
        raise UsageError(
            f"no configuration was measured in both {names[0]} and {names[1]}{nearest(earlier, later)}: "
            "run the same steps with the same flags for both"
        )
    taken = {row for pair in pairs for row in pair}
    only_before = [row for row in earlier if row not in taken]
    seen = {row for row, _ in doubtful}
    return BeforeAfter(
        [Match(*pair) for pair in pairs],
        only_before,
        [row for row in later if row not in taken],
        earlier_withheld + later_withheld,
        [row for _, row in doubtful],
        [row for row in only_before if row not in seen],
        len(after.runs) - len(new),
    )


def _rows(folder: Folder) -> tuple[list[Row], list[Row]]:
    """Those that may be compared, and those whose speed is withheld."""
    rows = configurations(folder)
    withheld = withheld_files(build_groups(rows))
    doubtful = [row for row in rows if row.runs[-1].file in withheld]
    return [row for row in rows if row not in doubtful], doubtful
