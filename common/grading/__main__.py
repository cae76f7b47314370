"""Grade what a class has handed in: `python -m common.grading submissions/`. Prints a table and writes a CSV."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
from rich.table import Table

from common.command_line.parser import Parser, start
from common.console.screen import open_console
from common.errors import UsageError
from common.formats import plural, printable
from common.grading.grades import Grade, grade, submissions_in

MAX_DOUBTS = 5
"""Printed of one student."""


def grade_class() -> None:
    """Read the command line, and grade."""
    parser = Parser(prog="python -m common.grading", description=__doc__)
    parser.add_argument(
        "folder", type=Path, help="with one zip for each student, made by make submit; folders in it are looked into"
    )
    parser.add_argument("--csv", type=Path, metavar="FILE", help="where the table goes (default: FOLDER/grades.csv)")
    options = parser.parse_args()
    grades = grade(submissions_in(options.folder))
    path = options.csv or options.folder / "grades.csv"
    try:
        table = pd.DataFrame([one.line() for one in grades]).map(_no_formula)
        table.to_csv(path, index=False, encoding="utf-8-sig")  # so that Excel finds Chinese names in it
    except OSError as error:
        raise UsageError(f"cannot write {path} ({error.strerror}): --csv names another file") from None
    open_console().print(_table(grades))
    for line in doubts_and_machines(grades):
        print(printable(line))
    print(f"{plural(len(grades), 'submission')}: {path}")


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
    return {identity: one.machine(identity) for one in grades for identity in one.machines}


def _no_formula(value: object) -> object:
    """A spreadsheet computes what begins so, and a student chooses their name."""
    return f"'{value}" if isinstance(value, str) and value[:1] in tuple("=+-@") else value


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
