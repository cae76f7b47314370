"""What comes into the results folder while a campaign runs there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from common.errors import UsageError
from common.records import Environment, EnvironmentRecord, Record
from common.records.files import read_regular

RESULTS = Path("results")
RUNS, CHECKS = "0[234]_*.json", "01_*.json"


class Arrivals:
    """Files of one folder, each told once. What cannot be read is left to step 05, which says what is wrong with it."""

    def __init__(self, folder: Path, pattern: str, *, only_new: bool) -> None:
        """With `only_new`, what lies there now does not count."""
        self._folder, self._pattern = folder, pattern
        self._seen = set(folder.glob(pattern)) if only_new else set()

    def texts(self) -> Iterator[bytes]:
        """What has come since this was last asked."""
        for path in sorted(set(self._folder.glob(self._pattern)) - self._seen):
            self._seen.add(path)
            try:
                yield read_regular(path)
            except OSError:
                continue

    def records(self) -> Iterator[Record]:
        """Those of them that are whole records of runs."""
        for text in self.texts():
            try:
                yield Record.model_validate_json(text)
            except ValueError:
                continue

    def newest_environment(self) -> Environment:
        """Of those that are records of step 01, what the one that was started last says of its machine.

        Raises `UsageError` where there is none.
        """
        found = []
        for text in self.texts():
            try:
                found.append(EnvironmentRecord.model_validate_json(text))
            except ValueError:
                continue
        if not found:
            missing = f"no record of step 01 in {self._folder}/"
            raise UsageError(f"{missing}: run `python 01_environment_check.py`, which says why it cannot leave one")
        return max(found, key=lambda record: record.started_at).environment
