"""Command line -> options: one flag, one meaning, in all scripts. Imports no torch, so that `--help` answers at once."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import NoReturn


class UsageError(Exception):
    """Bad input. The message is one line that says what is wrong and how to mend it."""


def start(main: Callable[[], object]) -> NoReturn:
    """Run a script's `main` and exit: 0 or the number it returns, 2 with one line on stderr after a `UsageError`."""
    try:
        code = main()
    except UsageError as error:
        if os.environ.get("RANK", "0") == "0":  # under torchrun every rank comes here; one line is enough
            print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    sys.exit(code)


class Parser(argparse.ArgumentParser):
    """argparse, but an error is one line (a `UsageError`) instead of the whole usage."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")


def positive_int(text: str) -> int:
    """Argument type: an integer of at least 1."""
    return _integer(text, at_least=1)


def count(text: str) -> int:
    """Argument type: an integer of at least 0."""
    return _integer(text, at_least=0)


def _integer(text: str, at_least: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = at_least - 1
    if value < at_least:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least {at_least}, not {text!r}")
    return value
