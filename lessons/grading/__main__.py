"""Grade what a class has handed in: `python -m lessons.grading submissions/`. Prints a table and writes a CSV."""

import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import pandas as pd
from rich.table import Table

from common.analysis.reading.folder import RefusedError, read_folder, read_record, record_marks
from common.analysis.sections.exercise import five_checkpoints
from common.analysis.sections.report import build_report
from common.command_line.parser import Parser, start
from common.console.screen import open_console
from common.errors import UsageError
from common.formats import plural, printable
from common.records import Record, machine_of
from lessons.grading.exchange_task import TaskMark, exchange_of, is_filled_in, mark_exchange
from lessons.grading.hand_in import ANSWERS, BLANK, EXCHANGE, BrokenSubmissionError, doubts, submissions_in, unpack

MAX_DOUBTS = 5
"""Printed of one student."""


def grade_class() -> None:
    """Read the command line, and grade."""
    parser = Parser(prog="python -m lessons.grading", description=__doc__)
    parser.add_argument("folder", type=Path, help="with a zip of each student, by make submit, also in folders of it")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="where the table goes (default: FOLDER/grades.csv)")
    options = parser.parse_args()
    grades = grade(submissions_in(options.folder))
    path = options.csv or options.folder / "grades.csv"
    try:
        # A spreadsheet computes what begins so, and a student chooses their name.
        table = pd.DataFrame([one.line() for one in grades]).replace(r"^(?=[=+@-])", "'", regex=True)
        table.to_csv(path, index=False, encoding="utf-8-sig")  # so that Excel finds Chinese names in it
    except OSError as error:
        raise UsageError(f"cannot write {path} ({error.strerror}): --csv names another file") from None
    open_console().print(_table(grades))
    for line in doubts_and_machines(grades):
        print(printable(line))
    print(f"{plural(len(grades), 'submission')}: {path}")


@dataclass
class Grade:
    """What is known of one submission: what was run and where, what it proves, and what a teacher should ask about."""

    student: str
    file: str
    problem: str = ""
    """Why it could not be graded; the rest is then empty."""
    made_at: str = ""
    """When it was packed: UTC, ISO 8601."""
    newer: str = ""
    """The file of the newest submission of the same name, where this is an older one."""
    machines: dict[str, str] = field(default_factory=dict)
    """In words, by their identities."""
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

    def line(self) -> dict[str, object]:
        """It as columns of a table."""
        ratio = self.exchange.ratio
        low, high = (ratio and ratio.interval) or (None, None)
        return {
            "student": self.student,
            "file": self.file,
            "problem": self.problem,
            "newer": self.newer,
            "machine": "; ".join(self.machines.values()),
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
    manifest, edited = unpack(archive, folder)
    results, exchange, answers = folder / "results", folder / EXCHANGE, folder / ANSWERS
    known = read_folder(results)
    edited += [f"{skipped.file}: {skipped.reason}" for skipped in known.skipped]
    marks: list[object] = []
    for path in sorted(results.glob("*.json")):
        with suppress(RefusedError):  # said above; but a copy of one's own run may be another's, too
            if isinstance(record := read_record(path), Record):
                edited += [f"{path.name}: {doubt}" for doubt in doubts(record, path.name)]
                marks.append(record_marks(record)[-1])
    if is_filled_in(exchange):
        marks.append(sha256(exchange.read_bytes()).hexdigest())
    models: dict[str, dict[str, None]] = defaultdict(dict)
    parity, completed = Counter[str](), Counter[str]()
    for run in known.runs:
        record, world = run.record, run.record.world
        models[machine_of(record.environment)][world.device_model] = None
        parity[record.parity.outcome if record.parity else ""] += 1
        if record.status == "completed":
            by = f" {exchange_of(run)}" if exchange_of(run) != "ddp" else ""
            completed[f"{record.step} {record.method} × {world.devices}{by}"] += 1
    checkpoints = five_checkpoints(build_report(known)) if known.runs else []
    return Grade(
        manifest.name,
        str(archive),
        made_at=manifest.made_at,
        machines={machine: f"{', '.join(names)} ({machine})" for machine, names in models.items()},
        runs=dict(sorted(completed.items())),
        not_completed=len(known.runs) - completed.total(),
        parity_passed=parity["passed"],
        parity_failed=parity["failed"],
        checkpoints=[(one.there, len(one.proofs)) for one in checkpoints],
        blanks_left=answers.read_text(errors="replace").count(BLANK) if answers.is_file() else None,
        exchange=mark_exchange(known.runs, exchange),
        edited=edited,
    ), marks


def doubts_and_machines(grades: Sequence[Grade]) -> Iterator[str]:
    """Lines below the table: the machines by their numbers, and what is wrong or in doubt."""
    for number, machine in enumerate(_machines(grades).values(), 1):
        yield f"machine {number}: {machine}"
    for one in grades:
        if one.newer:
            yield f"{one.student}: {one.file} is older than {one.newer}"
        if one.problem:
            yield f"{one.student}: {one.problem}"
        yield from (f"{one.student}: {doubt}" for doubt in one.edited[:MAX_DOUBTS])
        if (more := len(one.edited) - MAX_DOUBTS) > 0:
            yield f"{one.student}: {more:,} more, all of them in the column edited of the CSV"


def _machines(grades: Sequence[Grade]) -> dict[str, str]:
    """All of them in words, by their identities."""
    return {identity: machine for one in grades for identity, machine in one.machines.items()}


def _table(grades: Sequence[Grade]) -> Table:
    table = Table("student", "machine", "runs", "parity", "checkpoints", "blanks", "exchange", "same as", "edited")
    numbers = {identity: str(number) for number, identity in enumerate(_machines(grades), 1)}
    for one in grades:
        line = {name: printable(str(value)) for name, value in one.line().items()}
        student = f"{line['student']} (older)" if one.newer else line["student"]
        if one.problem:
            table.add_row(student, "", "not graded")
            continue
        failed, ratio = one.parity_failed, one.exchange.ratio
        speed = f", {ratio.value:.2f} ×" if ratio else ""
        table.add_row(
            student,
            " ".join(numbers[identity] for identity in one.machines),
            str(sum(one.runs.values())),
            f"{failed} failed" if failed else f"{one.parity_passed} passed" if one.parity_passed else "",
            " ".join(f"{there}/{of}" for there, of in one.checkpoints),
            "no answers" if one.blanks_left is None else line["blanks_left"],
            f"{one.exchange.points}{speed}",
            line["same_as"],
            str(len(one.edited)) if one.edited else "",
        )
    return table


if __name__ == "__main__":
    start(grade_class)
