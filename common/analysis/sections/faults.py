"""The faults that were caused on purpose: what named each, and whether its cure cured it."""

from __future__ import annotations

from collections.abc import Sequence

from common.content import Cell, Commands, Line, Message, Section, Table, columns, fold, hint, lead, message
from common.records import FaultRecord


def solved(records: Sequence[FaultRecord]) -> Message:
    """How many were named and cured."""
    caused = [record for record in records if not record.missing]
    return message("faults.solved", solved=sum(record.is_solved for record in caused), count=len(caused))


def faults_section(records: Sequence[FaultRecord]) -> Section | None:
    """None where nobody has caused a fault."""
    if not records:
        return None
    contents: list = [lead(solved(records), message("page.faults_lead"))]
    if caused := [record for record in records if not record.missing]:
        commands = [Commands(command, _title(record) if number == 0 else None) for record in caused
                    for number, command in enumerate(([record.command], [record.cure_command]))]  # fmt: skip
        contents += [_table(caused), fold(message("page.commands"), *commands)]
    if left_out := [record for record in records if record.missing]:
        contents.append(hint(*(message("faults.left_out", title=_title(record), need=record.missing)
                               for record in left_out)))  # fmt: skip
    return Section("faults-caused", message("page.faults"), contents, short=message("page.faults_short"))


def _table(caused: Sequence[FaultRecord]) -> Table:
    shown = columns(*(f"fault{part}:faults" for part in ("", "_named", "_cure", "_outcome")))
    lines = [Line([Cell(_title(record)), _named(record), Cell(message(f"fault.{record.fault}.cure")),
                   Cell(_outcome(record))]) for record in caused]  # fmt: skip
    return Table("faults", shown, lines, style="checks faults")


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
