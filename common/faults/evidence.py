"""What a command leaves that speaks of a fault: the sentence that names it, the last lines, the records of its runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, NamedTuple

from common.formats import printable
from common.records import Record

MAX_LINES, MAX_LETTERS = 6, 400
TWO_LINES = re.compile(r"(?m)^(• .*)\n(?=[^•\s])")
"""Step 05 breaks its sentences at the console's width: what does not begin one belongs to the line before."""


class NamingSentence(NamedTuple):
    """The line that names a fault."""

    text: str
    where: Literal["record", "console"]


def naming_sentence(pattern: str, output: str, results: Path | None) -> NamingSentence | None:
    """The line with the pattern: of the newest record's failure in `results`, or else the last one of the output."""
    for record in reversed(records_in(results) if results else []):
        if record.failure:
            text = f"{record.failure.message.rstrip('.')}. {record.failure.advice}"
            if re.search(pattern, text):
                return NamingSentence(printable(text), "record")
    unfolded = TWO_LINES.sub(r"\1 ", TWO_LINES.sub(r"\1 ", output))
    lines = [line.strip() for line in unfolded.splitlines() if re.search(pattern, line)]
    return NamingSentence(printable(lines[-1])[:MAX_LETTERS], "console") if lines else None


def records_in(results: Path) -> list[Record]:
    """The records that runs have left, in the order of their start."""
    records = [Record.model_validate_json(path.read_bytes()) for path in results.glob("0[234]_*.json")]
    return sorted(records, key=lambda record: record.started_at)


def last_lines(output: str) -> list[str]:
    """What a user sees last: lines of an acceptable length, without what would steer the terminal."""
    lines = [printable(line.strip())[:MAX_LETTERS] for line in output.splitlines()]
    return [line for line in lines if line][-MAX_LINES:]
