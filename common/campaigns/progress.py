"""How far a campaign is: the runs of each command in the results folder, and what the rounds so far have shown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from common.errors import UsageError
from common.messages import Message, message
from common.records import METHODS, Environment, EnvironmentRecord, Record, machine_of, seconds_per_sample
from common.records.files import AnyModel, record_in

RESULTS = Path("results")
RUNS, CHECKS = "0[234]_*.json", "01_*.json"


class NewFiles:
    """Files of one folder, each given once. What cannot be read is left to step 05, which says what is wrong."""

    def __init__(self, folder: Path, pattern: str, *, only_later: bool) -> None:
        """With `only_later`, what lies there now does not count."""
        self._folder, self._pattern = folder, pattern
        self._seen = set(folder.glob(pattern)) if only_later else set()

    def records(self, kind: type[AnyModel]) -> Iterator[AnyModel]:
        """Those that are whole records of this kind, of what has come since this was last asked."""
        for path in sorted(set(self._folder.glob(self._pattern)) - self._seen):
            self._seen.add(path)
            if record := record_in(path, kind):
                yield record


def newest_check(checks: NewFiles) -> EnvironmentRecord:
    """The record of step 01 that was started last. Raises `UsageError` where there is none."""
    newest = max(checks.records(EnvironmentRecord), key=lambda record: record.started_at, default=None)
    if newest is None:
        missing = f"no record of step 01 in {RESULTS}/"
        raise UsageError(f"{missing}: run `python 01_environment_check.py`, which says why it cannot leave one")
    return newest


class History:
    """Records of one folder on one machine, by the command that made them. New files are read as they come."""

    def __init__(self, folder: Path | None, here: Environment) -> None:
        """Without a folder nothing was ever run, and nothing is expected to be: a rehearsal."""
        self.is_rehearsal = folder is None
        self._files = NewFiles(folder, RUNS, only_later=False) if folder else None
        self._here = (machine_of(here), here.torch)
        self._records: dict[str, list[Record]] = {}

    def completed(self, command: str) -> list[Record]:
        """The command's completed runs, the newest last."""
        return [record for record in self._runs(command) if record.status == "completed"]

    def pairs(self, one: str, other: str) -> list[tuple[Record, Record]]:
        """Completed runs of two commands from the same round of the same campaign."""
        first, second = (
            {(run.launch.id, run.launch.round): run for run in self.completed(command) if run.launch}
            for command in (one, other)
        )
        return [(run, second[place]) for place, run in first.items() if place in second]

    def newest_failure(self, command: str) -> str | None:
        """Why the newest run did not complete: the kind of its `Failure`; None where it did, or where there is none."""
        runs = self._runs(command)
        return runs[-1].failure.kind if runs and runs[-1].failure else None

    def _runs(self, command: str) -> list[Record]:
        for record in self._files.records(Record) if self._files else ():
            if (machine_of(record.environment), record.environment.torch) == self._here:
                self._records.setdefault(_work(record.command), []).append(record)
        return sorted(self._records.get(_work(command), []), key=lambda record: record.started_at)


def _work(command: str) -> str:
    """The command less what changes no measured figure: the steps of the profile come after the epochs."""
    return re.sub(r" --anatomy-steps \d+| --quiet", "", command)


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

    def in_words(self, one_device: Message) -> Message:
        """All of it in one line."""
        if not self.rounds:
            return message("nothing yet, because a record is missing")
        dp, ddp, both = (_in_words(self.ratio(name)) for name in RATIOS)
        line = message(
            "DP {dp}, DDP {ddp} {one_device}; DDP {both} DP", dp=dp, ddp=ddp, one_device=one_device, both=both
        )
        if self.rounds >= MIN_ROUNDS:
            return line
        return message("{line}; intervals from {least} rounds on", line=line, least=MIN_ROUNDS)


def half_interval(ratio: Estimate) -> float:
    """How far the upper end of the 95 % interval lies above the value, as a share of it."""
    interval = ratio.interval
    assert interval is not None
    return interval[1] / ratio.value - 1


def _in_words(ratio: Estimate) -> Message:
    if ratio.interval is None:
        return message("{value:.2f} ×", value=ratio.value)
    low, high = ratio.interval
    return message("{value:.2f} × ({low:.2f}–{high:.2f})", value=ratio.value, low=low, high=high)
