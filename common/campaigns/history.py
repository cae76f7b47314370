"""What the results folder holds: the machine that step 01 saw, and of each command its runs and how they ended."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from common.errors import UsageError
from common.records import Environment, EnvironmentRecord, Record, machine_of
from common.records.files import read_regular

RESULTS = Path("results")
RUNS, CHECKS = "0[234]_*.json", "01_*.json"
AnyModel = TypeVar("AnyModel", bound=BaseModel)


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
            with suppress(OSError, ValueError):
                yield kind.model_validate_json(read_regular(path))


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
