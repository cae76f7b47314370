"""A row for each submission: what was run and where, what it proves, and what a teacher should ask about.

A doubt about a record is a question to its student, and no proof of anything.
"""

from __future__ import annotations

import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from common.analysis.reading.folder import Folder, RefusedError, read_folder, read_record, record_marks
from common.analysis.sections.report import build_report
from common.errors import UsageError
from common.grading.doubts import doubts
from common.grading.exchange_task import TaskMark, is_filled_in, mark_exchange
from common.grading.submission import ANSWERS, EXCHANGE, BrokenSubmissionError, unpack
from common.records import Record, machine_of

GIVE = "give the folder with the zips that make submit has written"
BLANK = "____"
"""In the handout, where an answer belongs."""


@dataclass
class Grade:
    """What is known of one submission."""

    student: str
    file: str
    problem: str = ""
    """Why it could not be graded; the rest is then empty."""
    made_at: str = ""
    """When it was packed: UTC, ISO 8601."""
    newer: str = ""
    """The file of the newest submission of the same name, where this is an older one."""
    machines: dict[str, list[str]] = field(default_factory=dict)
    """Device models by the machine's identity."""
    runs: dict[str, int] = field(default_factory=dict)
    """Completed ones, by method and devices: `DDP × 2`."""
    not_completed: int = 0
    parity_passed: int = 0
    parity_failed: int = 0
    checkpoints: list[tuple[int, int]] = field(default_factory=list)
    """Of each of the five: how much of it is proven, of how much."""
    blanks_left: int | None = None
    """None: no answers were handed in."""
    exchange: TaskMark = field(default_factory=lambda: TaskMark(0, ""))
    same_as: dict[str, int] = field(default_factory=dict)
    """Other students who hand in the same run, and how many; the same exchange counts as one more."""
    edited: list[str] = field(default_factory=list)
    """What does not add up, each with its file."""

    def machine(self, identity: str) -> str:
        """One of its machines, in words."""
        return f"{', '.join(self.machines[identity])} ({identity})"

    def line(self) -> dict[str, object]:
        """It as columns of a table."""
        ratio = self.exchange.ratio
        low, high = (ratio and ratio.interval) or (None, None)
        return {
            "student": self.student,
            "file": self.file,
            "problem": self.problem,
            "newer": self.newer,
            "machine": "; ".join(map(self.machine, self.machines)),
            "runs": ", ".join(f"{name} ({count})" for name, count in self.runs.items()),
            "not_completed": self.not_completed,
            "parity_passed": self.parity_passed,
            "parity_failed": self.parity_failed,
            **{f"checkpoint_{number}": f"{there}/{of}" for number, (there, of) in enumerate(self.checkpoints, 1)},
            "blanks_left": self.blanks_left,
            "exchange_points": self.exchange.points,
            "exchange": self.exchange.reason,
            "exchange_times_as_fast": ratio.value if ratio else None,
            "exchange_times_as_fast_low": low,
            "exchange_times_as_fast_high": high,
            "same_as": ", ".join(f"{name} ({count})" for name, count in self.same_as.items()),
            "edited": "; ".join(self.edited),
        }


def grade(archives: Sequence[Path]) -> list[Grade]:
    """A grade for each submission, in their order."""
    grades: list[Grade] = []
    owners: dict[object, list[int]] = defaultdict(list)
    for number, archive in enumerate(archives):
        with tempfile.TemporaryDirectory() as folder:
            try:
                one, marks = _grade(archive, Path(folder))
            except BrokenSubmissionError as error:
                one, marks = Grade(archive.stem, str(archive), problem=str(error)), []
            except Exception as error:  # a mistake of ours costs this row, never the table
                reason = f"this program failed on it ({type(error).__name__}: {error})"
                one, marks = Grade(archive.stem, str(archive), problem=reason), []
        grades.append(one)
        for mark in dict.fromkeys(marks):
            owners[mark].append(number)
    _enter_newer(grades)
    for one, shared in zip(grades, _shared(len(grades), owners.values()), strict=True):
        others = ((grades[other], count) for other, count in shared.items())
        one.same_as = {other.student: count for other, count in others if other.student != one.student}
    return grades


def _enter_newer(grades: Sequence[Grade]) -> None:
    by_name: dict[str, list[Grade]] = defaultdict(list)
    for one in grades:
        by_name[one.student].append(one)
    for several in by_name.values():
        newest = max(several, key=lambda one: one.made_at)
        for one in several:
            one.newer = newest.file if one is not newest else ""


def _shared(count: int, owners: Iterable[Sequence[int]]) -> list[Counter[int]]:
    """Of each submission, with which others it has something in common, and how often."""
    shared = [Counter[int]() for _ in range(count)]
    for several in owners:
        for one in several:
            shared[one].update(other for other in several if other != one)
    return shared


def _grade(archive: Path, folder: Path) -> tuple[Grade, list[object]]:
    """Of one submission, and what no other one can have in common with it."""
    manifest, changed = unpack(archive, folder)
    results = folder / "results"
    results.mkdir(exist_ok=True)
    row = Grade(manifest.name, str(archive), edited=changed, made_at=manifest.made_at)
    known = read_folder(results)
    row.edited += [f"{skipped.file}: {skipped.reason}" for skipped in known.skipped]
    marks: list[object] = []
    for file, record in _records(results):
        row.edited += [f"{file}: {doubt}" for doubt in doubts(record, file)]
        marks.append(tuple(record_marks(record)[-1]))
    _enter_runs(row, known)
    if known.runs:
        states = build_report(known).checkpoints
        row.checkpoints = [(sum(p.is_there for p in state.proofs), len(state.proofs)) for state in states]
    row.exchange = mark_exchange(known.runs, folder / EXCHANGE)
    if is_filled_in(folder / EXCHANGE):
        marks.append(sha256((folder / EXCHANGE).read_bytes()).hexdigest())
    answers = folder / ANSWERS
    row.blanks_left = answers.read_text(errors="replace").count(BLANK) if answers.is_file() else None
    return row, marks


def _records(results: Path) -> Iterator[tuple[str, Record]]:
    for path in sorted(results.glob("*.json")):
        try:
            record = read_record(path)
        except RefusedError:  # `read_folder` says why
            continue
        if isinstance(record, Record):
            yield path.name, record


def _enter_runs(row: Grade, known: Folder) -> None:
    machines: dict[str, dict[str, None]] = defaultdict(dict)
    runs = Counter[str]()
    for run in known.runs:
        record, world = run.record, run.record.world
        parity = record.parity.outcome if record.parity else ""
        row.parity_passed += parity == "passed"
        row.parity_failed += parity == "failed"
        row.not_completed += record.status != "completed"
        machines[machine_of(record.environment)][world.device_model] = None
        if record.status == "completed":
            exchange = record.config.ddp.exchange if record.config.ddp else "ddp"
            by = "" if exchange == "ddp" else f" {exchange}"
            runs[f"{record.step} {record.method} × {world.devices}{by}"] += 1
    row.machines, row.runs = {one: list(devices) for one, devices in machines.items()}, dict(sorted(runs.items()))


def submissions_in(folder: Path) -> list[Path]:
    """The zips of a folder and of the folders in it, by name. Raises `UsageError` where there is none."""
    try:
        next(folder.iterdir(), None)
        archives = sorted(path for path in folder.rglob("*") if path.suffix.lower() == ".zip" and path.is_file())
    except OSError as error:
        raise UsageError(f"cannot read {folder} ({error.strerror}): {GIVE}") from None
    if not archives:
        raise UsageError(f"no zip in {folder}: {GIVE}")
    return archives
