"""A row for each submission: what was run and where, what it proves, and what a teacher should ask about.

A doubt about a record is a question to its student, and no proof of anything.
"""

from __future__ import annotations

import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from pathlib import Path

from common.analysis.reading.folder import Folder, RefusedError, read_folder, read_record, record_marks
from common.analysis.sections.report import build_report
from common.errors import UsageError
from common.grading.exchange_task import TaskMark, exchange_of, is_filled_in, mark_exchange
from common.grading.hand_in import ANSWERS, EXCHANGE, BrokenSubmissionError, unpack
from common.records import Record, machine_of

GIVE = "give the folder with the zips that make submit has written"
BLANK = "____"
"""In the handout, where an answer belongs."""
CLOCKS_DIFFER, CLOCKS_DIFFER_SECONDS = 0.03, 0.02
"""By more than both, the steps of an epoch and the host's clock disagree: in 550 epochs' times of the examples they
differ by 0.06 % at most, and on a host with three jobs for each core by 1.2 %, 6 ms."""
DIGITS = 7
"""Decimals of a step time, to which the lab rounds."""
A_SECOND = 1.5
"""Dates of a record are whole seconds."""


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
    same_as: Counter[str] = field(default_factory=Counter)
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
    owners: dict[object, list[Grade]] = defaultdict(list)
    for archive in archives:
        with tempfile.TemporaryDirectory() as folder:
            try:
                one, marks = _grade(archive, Path(folder))
            except Exception as error:  # a mistake of ours costs this row, never the table
                ours = f"this program failed on it ({type(error).__name__}: {error})"
                reason = str(error) if isinstance(error, BrokenSubmissionError) else ours
                one, marks = Grade(archive.stem, str(archive), problem=reason), []
        grades.append(one)
        for mark in dict.fromkeys(marks):
            owners[mark].append(one)
    newest = {one.student: one for one in sorted(reversed(grades), key=lambda one: one.made_at)}
    for one in grades:
        one.newer = newest[one.student].file if one is not newest[one.student] else ""
    for several in owners.values():
        names = dict.fromkeys(one.student for one in several)
        for one in several:
            one.same_as.update(name for name in names if name != one.student)
    return grades


def _grade(archive: Path, folder: Path) -> tuple[Grade, list[object]]:
    """Of one submission, and what no other one can have in common with it."""
    manifest, changed = unpack(archive, folder)
    results, exchange, answers = folder / "results", folder / EXCHANGE, folder / ANSWERS
    results.mkdir(exist_ok=True)
    row = Grade(manifest.name, str(archive), edited=changed, made_at=manifest.made_at)
    known = read_folder(results)
    row.edited += [f"{skipped.file}: {skipped.reason}" for skipped in known.skipped]
    marks: list[object] = []
    for path in sorted(results.glob("*.json")):
        with suppress(RefusedError):  # said above; but a copy of one's own run may be another's, too
            if isinstance(record := read_record(path), Record):
                row.edited += [f"{path.name}: {doubt}" for doubt in doubts(record, path.name)]
                marks.append(record_marks(record)[-1])
    _enter_runs(row, known)
    if known.runs:
        states = build_report(known).checkpoints
        row.checkpoints = [(sum(p.is_there for p in state.proofs), len(state.proofs)) for state in states]
    row.exchange = mark_exchange(known.runs, exchange)
    if is_filled_in(exchange):
        marks.append(sha256(exchange.read_bytes()).hexdigest())
    row.blanks_left = answers.read_text(errors="replace").count(BLANK) if answers.is_file() else None
    return row, marks


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
            by = f" {exchange_of(run)}" if exchange_of(run) != "ddp" else ""
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


def doubts(record: Record, file: str) -> Iterator[str]:
    """Of a record in a file of this name: what does not add up, in words."""
    for rank in record.ranks:
        for epoch, part, host in zip(record.epochs, record.epoch_slices, rank.host_epoch_seconds, strict=True):
            steps = sum(rank.step_seconds[part])
            if abs(steps - host) > max(CLOCKS_DIFFER * host, CLOCKS_DIFFER_SECONDS):
                where = f"epoch {epoch.epoch}, rank {rank.rank}"
                yield f"{where}: the steps add up to {steps:.2f} s, the clock says {host:.2f} s"
        if any(round(seconds, DIGITS) != seconds for seconds in rank.step_seconds):
            yield f"rank {rank.rank}: step times with more than {DIGITS} decimals, which the lab does not write"
    yield from _of_dates(record)
    for number, epoch in enumerate(record.epochs):
        seen = sum(rank.samples[number] for rank in record.ranks)
        checksum = sum(int(rank.checksums[number], 16) for rank in record.ranks) % 2**64
        if record.status == "completed" and (seen, f"{checksum:016x}") != (epoch.samples, epoch.expected_checksum):
            yield f"epoch {epoch.epoch}: {seen} samples of {epoch.samples}, or others than these"
    if file != f"{record.run_id}.json":
        yield f"its name in the record is {record.run_id}"


def _of_dates(record: Record) -> Iterator[str]:
    try:
        started, finished = map(datetime.fromisoformat, (record.started_at, record.finished_at))
        lasted = (finished - started).total_seconds()
        stamp = record.run_id.rpartition("_")[2].partition("-")[0]
        named = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=started.tzinfo)
        measured = max((sum(rank.host_epoch_seconds) for rank in record.ranks), default=0.0)
        if measured > lasted + A_SECOND:
            yield f"epochs of {measured:.1f} s in a run of {lasted:.0f} s"
        if abs((named - started).total_seconds()) > A_SECOND:
            yield f"called {stamp}, but started at {record.started_at}"
    except (TypeError, ValueError):
        yield "dates that the lab does not write"
