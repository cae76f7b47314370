"""What the results folder holds of a command that was launched before: its runs, and how they ended."""

from __future__ import annotations

import re
from pathlib import Path

from common.records import Environment, Record, machine_of


class Past:
    """Records of one folder on one machine, by the command that made them. New files are read as they come."""

    def __init__(self, folder: Path | None, here: Environment) -> None:
        """Without a folder nothing was ever run, and nothing is expected to be: a rehearsal."""
        self._folder, self._here = folder, here
        self._seen: set[str] = set()
        self._records: dict[str, list[Record]] = {}

    @property
    def is_rehearsal(self) -> bool:
        """Whether there is no folder."""
        return self._folder is None

    def runs(self, command: str) -> list[Record]:
        """The completed ones, the newest last."""
        return [record for record in self._of(command) if record.status == "completed"]

    def pairs(self, one: str, other: str) -> list[tuple[Record, Record]]:
        """Runs of two commands that were launched in turn: each of `other` with the last of `one` before it."""
        found, free = [], self.runs(one)
        for record in self.runs(other):
            before = [run for run in free if run.started_at < record.started_at]
            if before:
                found.append((before[-1], record))
                free = [run for run in free if run.started_at > record.started_at]
        return found

    def newest_failure(self, command: str) -> str | None:
        """Why the newest run did not complete: the kind of its `Failure`; None where it did, or where there is none."""
        found = self._of(command)
        return found[-1].failure.kind if found and found[-1].failure else None

    def _of(self, command: str) -> list[Record]:
        for path in sorted(self._folder.glob("0[234]_*.json")) if self._folder else ():
            if path.name not in self._seen:
                self._seen.add(path.name)
                self._read(path)
        return sorted(self._records.get(_work(command), []), key=lambda record: record.started_at)

    def _read(self, path: Path) -> None:
        try:
            record = Record.model_validate_json(path.read_bytes())
        except (ValueError, OSError):
            return  # step 05 says what is wrong with it
        there = record.environment
        if (machine_of(there), there.torch) == (machine_of(self._here), self._here.torch):
            self._records.setdefault(_work(record.command), []).append(record)


def _work(command: str) -> str:
    """The command less what changes no measured figure: steps that are taken apart come after the epochs."""
    return re.sub(r" --anatomy-steps \d+", "", command)
