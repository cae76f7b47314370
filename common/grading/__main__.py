"""Grade what a class has handed in: `python -m common.grading submissions/`. Prints a table and writes a CSV."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from rich.table import Table

from common.command_line.parser import Parser, start
from common.console.screen import open_console
from common.errors import UsageError
from common.formats import plural, printable
from common.grading.grades import Grade, grade, submissions_in


def grade_class() -> None:
    """Read the command line, and grade."""
    parser = Parser(prog="python -m common.grading", description=__doc__)
    parser.add_argument("folder", type=Path, help="with one zip for each student, made by make submit")
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
    for one in grades:
        for what in [one.problem] if one.problem else one.edited:
            print(printable(f"{one.student}: {what}"))
    print(f"{plural(len(grades), 'submission')}: {path}")


def _no_formula(value: object) -> object:
    """A spreadsheet computes what begins so, and a student chooses their name."""
    return f"'{value}" if isinstance(value, str) and value[:1] in tuple("=+-@") else value


def _table(grades: list[Grade]) -> Table:
    table = Table("student", "runs", "parity", "checkpoints", "blanks", "exchange", "same as", "edited")
    for one in grades:
        line = {name: printable(str(value)) for name, value in one.line().items()}
        failed, ratio = one.parity_failed, one.exchange.ratio
        speed = f", {ratio.value:.2f} ×" if ratio else ""
        table.add_row(
            line["student"],
            str(sum(one.runs.values())) if not one.problem else "not graded",
            f"{failed} failed" if failed else f"{one.parity_passed} passed" if one.parity_passed else "",
            " ".join(f"{there}/{of}" for there, of in one.checkpoints),
            line["blanks_left"] if not one.problem else "",
            f"{one.exchange.points}{speed}" if not one.problem else "",
            line["same_as"],
            str(len(one.edited)) if one.edited else "",
        )
    return table


if __name__ == "__main__":
    start(grade_class)
