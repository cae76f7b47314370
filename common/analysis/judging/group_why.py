"""Why the methods of a group differ: reasons, ledgers, tables for experts, and advice, in one place."""

from __future__ import annotations

from dataclasses import dataclass

from common.analysis.comparing.groups import Group
from common.analysis.comparing.rows import Row
from common.analysis.judging.advice import Advice, advise
from common.analysis.judging.forecast_cells import Foresight
from common.analysis.judging.ledger import Ledger, ledger_table, ledgers, told
from common.analysis.judging.reasons import reasons
from common.analysis.judging.row_checks import PooledCheck, troubles
from common.analysis.judging.step_cells import detail_tables, why_tables
from common.analysis.judging.wrapper_price import WrapperPrice, wrapper_price
from common.content.messages import Message, message
from common.content.sections import Table


@dataclass
class GroupWhy:
    """Why the methods of a group differ, and what to do next."""

    ledgers: list[Ledger]
    reasons: list[Message]
    notes: list[Message]
    """Why something of an anatomy is missing."""
    has_anatomy: bool
    tables: list[Table]
    details: list[Table]
    wrapper: WrapperPrice
    advice: list[Advice]


def group_why(group: Group, checks: dict[Row, list[PooledCheck]], foresight: Foresight | None) -> GroupWhy:
    """Reasons, their tables and advice for one group."""
    notes = [message("note.anatomy", row=row.name, note=run.anatomy_note)
             for row in group.rows for run in row.runs if run.anatomy_note]  # fmt: skip
    books = ledgers(group)
    return GroupWhy(
        ledgers=books,
        reasons=[*map(told, books), *reasons(group), *_disturbed(checks)],
        notes=notes,
        has_anatomy=any(row.anatomy for row in group.main_rows),
        tables=why_tables(group),
        details=[*([ledger_table(books)] if books else []), *detail_tables(group)],
        wrapper=wrapper_price(group),
        advice=[*advise(group), *(foresight.advice if foresight else [])],
    )


def _disturbed(checks: dict[Row, list[PooledCheck]]) -> list[Message]:
    """Rows whose figure of a step shows other steps than were measured."""
    return [
        message("reason.disturbed", row=row.name, reason=check.reason)
        for row, pooled in checks.items()
        for check in troubles(pooled, "anatomy")
    ]
