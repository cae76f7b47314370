"""The faults that were caused on purpose, as a table: what named each, and whether its cure cured it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from common.analysis.findings import Finding, finding
from common.analysis.judging.cells import Cell, Line, Table, columns
from common.records import FaultRecord


@dataclass(frozen=True)
class FaultsCaused:
    """What is said of them."""

    solved: Finding
    """How many were named and cured."""
    table: Table
    left_out: list[Finding]
    """What this machine lacked for others."""


def faults_caused(records: Sequence[FaultRecord]) -> FaultsCaused | None:
    """None where nobody has caused a fault."""
    if not records:
        return None
    caused = [record for record in records if not record.missing]
    shown = columns(*((f"fault{part}", "faults") for part in ("", "_named", "_cure", "_outcome")))
    lines = [Line([Cell(_title(record)), _named(record), _cure(record), Cell(_outcome(record))]) for record in caused]
    return FaultsCaused(
        finding("faults.solved", solved=sum(record.is_solved for record in caused), count=len(caused)),
        Table("faults", shown, lines),
        [finding("faults.left_out", title=_title(record), need=record.missing) for record in records if record.missing],
    )


def _title(record: FaultRecord) -> Finding:
    return finding(f"fault.{record.fault}.title")


def _named(record: FaultRecord) -> Cell:
    if record.named_by is None:
        return Cell(finding("faults.not_named"))
    notes = finding(f"faults.by_{record.named_by}"), finding("faults.command", command=record.command)
    return Cell(record.sentence, notes=notes)


def _cure(record: FaultRecord) -> Cell:
    return Cell(finding(f"fault.{record.fault}.cure"), notes=(finding("faults.command", command=record.cure_command),))


def _outcome(record: FaultRecord) -> Finding:
    if record.is_solved:
        return finding("faults.is_solved", seconds=record.seconds + record.cure_seconds)
    if record.named_by is None:
        return finding("faults.is_not_named")
    return finding("faults.is_not_cured" if not record.cured else "faults.is_left")
