"""How the lab reads a command line: one flag, one meaning; bad input is one line. Imports no torch."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from common.errors import UsageError


def start(main: Callable[[], int | None]) -> NoReturn:
    """Run a script's `main` and exit: 0 or the number it returns, 2 with one line on stderr after a `UsageError`."""
    try:
        code = main()
    except UsageError as error:
        if os.environ.get("RANK", "0") == "0":  # under torchrun every rank comes here; one line is enough
            print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    sys.exit(code)


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Shows every default, and the description as it was written."""


class Parser(argparse.ArgumentParser):
    """argparse, but an error is one line (a `UsageError`) instead of the whole usage."""

    def __init__(self, **more) -> None:
        # An abbreviation that works today is ambiguous with the next flag, and the printed next command would keep it.
        super().__init__(formatter_class=HelpFormatter, allow_abbrev=False, **more)

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")


def positive_int(text: str) -> int:
    """Argument type: an integer of at least 1."""
    return _number(int, text, lambda value: value >= 1, "a whole number of at least 1")


def count(text: str) -> int:
    """Argument type: an integer of at least 0."""
    return _number(int, text, lambda value: value >= 0, "a whole number of at least 0")


def positive_float(text: str) -> float:
    """Argument type: a finite number above 0."""
    return _number(float, text, lambda value: 0 < value < float("inf"), "a number above 0")


def nonnegative_float(text: str) -> float:
    """Argument type: a finite number of at least 0."""
    return _number(float, text, lambda value: 0 <= value < float("inf"), "a number of at least 0")


def _number(kind: type, text: str, accepts: Callable, meaning: str):
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not accepts(value):
        raise argparse.ArgumentTypeError(f"must be {meaning}, not {text!r}")
    return value


def otherwise(default: str) -> str:
    """The end of a help text that names its own default, so that argparse does not add "(default: None)" to it."""
    return f" (default: {default})%(default).0s"
