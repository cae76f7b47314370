"""What the lab says of a fault: the sentence that names it, in the run's record or in what was printed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, NamedTuple

from common.formats import printable
from common.records import Record

MAX_SEEN, MAX_LETTERS = 6, 400


class Sentence(NamedTuple):
    """The line that names a fault."""

    text: str
    where: Literal["record", "console"]


def sentence(named: str, output: str, results: Path) -> Sentence | None:
    """The line with the pattern: of the newest record's failure, or else the last one of the output."""
    for record in reversed(records_in(results)):
        if record.failure and re.search(
            named, text := f"{record.failure.message.rstrip('.')}. {record.failure.advice}"
        ):
            return Sentence(printable(text), "record")
    lines = [line.strip() for line in _unfolded(output).splitlines() if re.search(named, line)]
    return Sentence(printable(lines[-1])[:MAX_LETTERS], "console") if lines else None


def _unfolded(output: str) -> str:
    """Step 05 breaks its sentences at the console's width: what does not begin one belongs to the line before."""
    return re.sub(r"(?m)^(• .*)\n(?=[^•\s])", r"\1 ", re.sub(r"(?m)^(• .*)\n(?=[^•\s])", r"\1 ", output))


def records_in(results: Path) -> list[Record]:
    """The records that runs have left, in the order of their start."""
    found = [Record.model_validate_json(path.read_bytes()) for path in results.glob("0[234]_*.json")]
    return sorted(found, key=lambda record: record.started_at)


def last_lines(output: str) -> list[str]:
    """What a user sees last: lines of an acceptable length, without what would steer the terminal."""
    lines = [printable(line.strip())[:MAX_LETTERS] for line in output.splitlines()]
    return [line for line in lines if line][-MAX_SEEN:]
