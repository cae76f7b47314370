"""What the results folder holds of a command that was launched before: its runs, and how they ended."""

from __future__ import annotations

import re
from pathlib import Path

from common.campaigns.arrivals import RUNS, Arrivals
from common.records import Environment, Record, machine_of


class Past:
    """Records of one folder on one machine, by the command that made them. New files are read as they come."""

    def __init__(self, folder: Path | None, here: Environment) -> None:
        """Without a folder nothing was ever run, and nothing is expected to be: a rehearsal."""
        self._arrivals = Arrivals(folder, RUNS, only_new=False) if folder else None
        self._here = here
        self._records: dict[str, list[Record]] = {}

    @property
    def is_rehearsal(self) -> bool:
        """Whether there is no folder."""
        return self._arrivals is None

    def runs(self, command: str) -> list[Record]:
        """The completed ones, the newest last."""
        return [record for record in self._of(command) if record.status == "completed"]

    def pairs(self, one: str, other: str) -> list[tuple[Record, Record]]:
        """Runs of two commands from the same round of the same campaign."""
        first, second = (
            {(run.launch.id, run.launch.round): run for run in self.runs(command) if run.launch}
            for command in (one, other)
        )
        return [(run, second[place]) for place, run in first.items() if place in second]

    def newest_failure(self, command: str) -> str | None:
        """Why the newest run did not complete: the kind of its `Failure`; None where it did, or where there is none."""
        found = self._of(command)
        return found[-1].failure.kind if found and found[-1].failure else None

    def _of(self, command: str) -> list[Record]:
        for record in self._arrivals.records() if self._arrivals else ():
            if self._is_from_here(record.environment):
                self._records.setdefault(_work(record.command), []).append(record)
        return sorted(self._records.get(_work(command), []), key=lambda record: record.started_at)

    def _is_from_here(self, there: Environment) -> bool:
        return (machine_of(there), there.torch) == (machine_of(self._here), self._here.torch)


def _work(command: str) -> str:
    """The command less what changes no measured figure: steps that are taken apart come after the epochs."""
    return re.sub(r" --anatomy-steps \d+| --quiet", "", command)
