"""What campaigns are planned with: sizes, launches as a person would type them, drawn orders, and what has run."""

import random
import re
import shlex
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal, Self

from common.command_line.commands import startable
from common.errors import UsageError
from common.records import METHODS, DeviceKind, Environment, EnvironmentRecord, Method, Record, machine_of
from common.records.disk import record_in

REPORT = (
    "python 05_performance_comparison.py --results-dir ./results --generate-plots "
    "--output-report comparison_report.html"
)
PUBLISHED = [name for name, method in METHODS.items() if not method.variant_of]
"""Methods of the published exercise: steps 02, 03 and 04, without a flag of the lab's own."""
NO_PROFILE, QUIET = " --anatomy-steps 0", " --quiet"
RESULTS = Path("results")
FailureKind = Literal["out_of_memory", "failed"]
Place = tuple[int, int]
"""A launch's round, and its position there."""
Plan = Iterator[tuple[str, Place | None]]
"""Commands, each to be run before the next one is asked for. The page has no place."""


@dataclass(frozen=True)
class Overrides:
    """What the command line says; None leaves it to the campaign. The Makefile's variables have the same names."""

    model: str | None = None
    batch: int | None = None
    epochs: int | None = None
    devices: int | None = None
    samples: int | None = None
    repeats: int | None = None
    tolerance: float | None = None
    minutes: float | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Sizes:
    """What one launch trains."""

    model: str
    batch: int
    """Samples per device."""
    epochs: int
    samples: int = 0
    """Of an epoch, at least; 0, where there are no `steps` either, leaves them to the scripts."""
    steps: int = 0
    """An epoch has samples for so many steps of all devices together."""
    switches: str = ""
    """More flags: ` --channels-last`."""

    def chosen(self, overrides: Overrides, devices: int) -> Self:
        """The same with what the command line says, for so many devices; `samples` is then an epoch's size."""
        batch = overrides.batch or self.batch
        samples = overrides.samples or max(self.samples, self.steps * batch * devices)
        model = overrides.model or self.model
        return replace(self, model=model, batch=batch, epochs=overrides.epochs or self.epochs, samples=samples)

    def command(self, method: Method, devices: int = 1, flags: str = "") -> str:
        """The launch of it."""
        batch = self.batch * devices if METHODS[method].has_replicas else self.batch
        words = f"--model {shlex.quote(self.model)} --batch-size {batch} --epochs {self.epochs}"
        samples = f" --samples-per-epoch {self.samples}" if self.samples else ""
        return startable(METHODS[method].command(words + samples, devices)) + flags + self.switches


USUAL_SIZES: dict[DeviceKind, Sizes] = {
    "cuda": Sizes("resnet50", batch=64, epochs=2),
    "cpu": Sizes("resnet18", batch=16, epochs=2),
}
"""Two epochs, so that the loss can be seen to fall. Each campaign has other steps or samples, so that step 05 does not
pool a launch of one with a launch of another."""


def drawn_orders(count: int, seed: int | str) -> Iterator[list[int]]:
    """Round after round, without end: who of `count` comes first, second, … The same seed gives the same orders.

    A machine drifts: it warms up, a neighbour comes. In a fixed order the last launch of every round meets more of that
    than the first, and so equals differ. Drawn at random, the drift meets each alike in the long run; three rounds are
    no long run, and could by chance all have one order. So places are balanced as well: the rounds are the lines of a
    random Latin square, in which everyone stands in every place once (a randomised block design; Cochran and Cox,
    Experimental Designs, chapter 4). benchmarks/interval_coverage.py says what each design gives.
    """
    chance = random.Random(seed)
    while True:
        # A square in which each line is the one before, moved by one place; its lines and its columns are shuffled.
        lines, columns = (chance.sample(range(count), count) for _ in range(2))
        for line in lines:
            yield [(line + column) % count for column in columns]


def newest_check(before: Collection[Path] = ()) -> EnvironmentRecord:
    """The record of step 01 that was started last, besides files that were there `before`. Raises `UsageError` where
    there is none."""
    paths = [path for path in RESULTS.glob("01_*.json") if path not in before]
    records = [record for path in paths if (record := record_in(path, EnvironmentRecord))]
    if not records:
        missing = f"no record of step 01 in {RESULTS}/"
        raise UsageError(f"{missing}: run `python 01_environment_check.py`, which says why it cannot leave one")
    return max(records, key=lambda record: record.started_at)


def runs_in(folder: Path) -> list[Record]:
    """The runs of a folder. Step 05 says what is wrong with those that cannot be read."""
    runs = [_run_at(path, path.lstat().st_mtime_ns) for path in sorted(folder.glob("0[234]_*.json"))]
    return [run for run in runs if run]


@cache
def _run_at(path: Path, changed: int) -> Record | None:
    """`changed`: when the file was; a run that goes on writes its record anew."""
    return record_in(path, Record)


def paired_seconds(*kinds: Iterable[Record]) -> list[tuple[float, ...]]:
    """Seconds per sample of several kinds of run, in each round in which all of them have completed."""
    by_round = [
        {(run.launch.id, run.launch.round): 1 / rate for run in runs
         if run.launch and run.status == "completed" and (rate := run.throughput)}
        for runs in kinds
    ]  # fmt: skip
    return [tuple(of[place] for of in by_round) for place in by_round[0] if all(place in of for of in by_round)]


class History:
    """Runs of one folder on one machine, by the command that made them."""

    def __init__(self, folder: Path | None, here: Environment) -> None:
        """Without a folder nothing was ever run, and nothing is expected to be: a rehearsal."""
        self.folder, self._here = folder, (machine_of(here), here.torch)
        self.failed: set[str] = set()
        """Commands that have failed since this start of the campaign, with or without a record."""

    def completed(self, command: str) -> list[Record]:
        """The command's completed runs, the newest last."""
        return [record for record in self.runs(command) if record.status == "completed"]

    def newest_failure(self, command: str) -> str | None:
        """Why the newest run did not complete: the kind of its `Failure`; None where it did, or where there is none."""
        runs = self.runs(command)
        return runs[-1].failure.kind if runs and runs[-1].failure else None

    def runs(self, command: str) -> list[Record]:
        """All of the command's, however they ended, the newest last."""
        runs = [
            record
            for record in (runs_in(self.folder) if self.folder else ())
            if (machine_of(record.environment), record.environment.torch) == self._here
            and _work(record.command) == _work(command)
        ]
        return sorted(runs, key=lambda record: record.started_at)


def _work(command: str) -> str:
    """The command less what changes no measured figure: the steps of the profile come after the epochs."""
    return re.sub(r" --anatomy-steps \d+| --quiet", "", command)
