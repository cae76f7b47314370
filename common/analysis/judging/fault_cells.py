"""The faults that were caused on purpose, as a table: what named each, and whether its cure cured it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from common.content.messages import Message, message
from common.content.sections import Cell, Line, Table, columns
from common.records import FaultRecord


@dataclass(frozen=True)
class FaultsCaused:
    """What is said of them."""

    solved: Message
    """How many were named and cured."""
    table: Table
    commands: list[tuple[Message, str, str]]
    """Of each: what was started, and the cure's command."""
    left_out: list[Message]
    """What this machine lacked for others."""


def faults_caused(records: Sequence[FaultRecord]) -> FaultsCaused | None:
    """None where nobody has caused a fault."""
    if not records:
        return None
    caused = [record for record in records if not record.missing]
    shown = columns(*((f"fault{part}", "faults") for part in ("", "_named", "_cure", "_outcome")))
    lines = [Line([Cell(_title(record)), _named(record), Cell(message(f"fault.{record.fault}.cure")),
                   Cell(_outcome(record))]) for record in caused]  # fmt: skip
    return FaultsCaused(
        message("faults.solved", solved=sum(record.is_solved for record in caused), count=len(caused)),
        Table("faults", shown, lines),
        [(_title(record), record.command, record.cure_command) for record in caused],
        [message("faults.left_out", title=_title(record), need=record.missing) for record in records if record.missing],
    )


def _title(record: FaultRecord) -> Message:
    return message(f"fault.{record.fault}.title")


def _named(record: FaultRecord) -> Cell:
    if record.named_by is None:
        return Cell(message("faults.not_named"))
    return Cell(record.sentence, notes=(message(f"faults.by_{record.named_by}"),))


def _outcome(record: FaultRecord) -> Message:
    if record.is_solved:
        return message("faults.is_solved", seconds=record.seconds + record.cure_seconds)
    if record.named_by is None:
        return message("faults.is_not_named")
    return message("faults.is_not_cured" if not record.cured else "faults.is_left")
