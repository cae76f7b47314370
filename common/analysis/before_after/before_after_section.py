"""Before and after on page and console, as a table of their own, and what a limit says of them."""

from pathlib import Path

import pandas as pd

from common.analysis.before_after.side_by_side import BeforeAfter, Match
from common.analysis.comparing.csv_files import of_side, table_of, with_ends
from common.analysis.comparing.facts import group_key, grouped
from common.analysis.comparing.rows import Row
from common.analysis.sections.changes import changed
from common.analysis.sections.comparison import row_and_settings, runs_note, speed_cell
from common.analysis.statistics.estimates import LEAST, MOST
from common.content import Cell, Line, Lines, Message, Section, Table, columns, message, opening

MAX_LINES, MAX_NAMED = 60, 6


def before_after_section(both: BeforeAfter, before: Path, after: Path) -> Section:
    """What differs, a table with a line for each configuration, and what is on one side alone."""
    shown = columns("configuration:before-after", "before:throughput", "after:throughput",
                    "times_as_fast:before-after", "effect:before-after", "memory_difference:memory")  # fmt: skip
    lines = [Line(_cells(match), match.after.method) for match in both.matches[:MAX_LINES]]
    table = Table("before_after", shown, lines, hint=message("hint.before_after"),
                  left_out=len(both.matches) - len(lines))  # fmt: skip
    differences, others = _differences(both), _others(both)
    heading = opening(message("before_after.lead", before=str(before), after=str(after)))
    contents = [heading, Lines(differences), table.with_title, Lines(others) if others else None]
    brief = [*differences, *map(_in_brief, both.matches), *others]
    return Section("before-after", message("page.before_after"), contents, style="group", brief=brief)


def where_and_what(row: Row) -> Message:
    """`DDP × 2, resnet18, 64 px, 16 samples per device`, without the device, which may differ."""
    return row_and_settings(row, "model_source")


def _cells(match: Match) -> list[Cell]:
    ratio_cell, outcome, memory = match.effect.cells
    if match.outcome_at(1.0) == "undecided":
        more = message(f"before_after.needed_{match.lacks}", needed=_needed(match))
        outcome = Cell(outcome.value, notes=(more,))
    where = message("note.plain", text=where_and_what(match.after))
    head = Cell(match.after.name, notes=(where, runs_note(match.after)))
    return [head, speed_cell(match.before), speed_cell(match.after), ratio_cell, outcome, memory]


def _in_brief(match: Match) -> Message:
    what = where_and_what(match.after)
    if match.lacks != "least":
        return match.effect.sentence(what)
    runs = {"before": len(match.before.runs), "after": len(match.after.runs), "least": LEAST}
    return message("before_after.few_runs", what=what, ratio=match.quotient, **runs)


def _needed(match: Match) -> Message | int:
    """Rounds, or runs on each side, that would show a difference that matters; of too few runs the least number."""
    if match.lacks == "least":
        return LEAST
    unit = "rounds" if match.pairs else "runs_on_each_side"
    return message(f"before_after.{unit}", count=match.needed or MOST)


def _differences(both: BeforeAfter) -> list[Message]:
    """`torch: 2.11.0 → 2.13.0`, each with the configurations that it holds for, unless it holds for all."""
    each = [(fact, values, match) for match in both.matches for fact, values in match.differences.items()]
    lines = []
    for (fact, values), alike in grouped(each, lambda one: one[:2]).items():
        line = changed(fact, values)
        if len(alike) < len(both.matches):
            line = message("before_after.of_some", difference=line, rows=[match.after.name for *_, match in alike])
        lines.append(line)
    return lines or [message("before_after.no_difference")] * bool(both.matches)


def _others(both: BeforeAfter) -> list[Message]:
    """What is not compared: a line at most for each reason."""
    lines = []
    for reason, rows in both.not_compared.items():
        names = message("before_after.rows", rows=[where_and_what(row) for row in rows[:MAX_NAMED]])
        more = len(rows) - MAX_NAMED
        names = message("before_after.more", shown=names, count=more) if more > 0 else names
        lines += [message(f"before_after.{reason}", rows=names)] if rows else []
    return [*lines, *([message("before_after.repeated", count=both.repeated)] if both.repeated else [])]


def limit_lines(both: BeforeAfter, limit: float) -> tuple[list[Message], list[Message]]:
    """What fell below `limit` times its throughput before, or cannot be compared any more; and what more runs would
    decide, or that nothing did."""
    below, others, passed = [], [], 0
    for match in both.matches:
        outcome, what = match.outcome_at(limit), where_and_what(match.after)
        if outcome == "below":
            below.append(message("limit.below", what=what, ratio=match.quotient, limit=limit))
        elif outcome == "undecided":
            others.append(message(f"limit.undecided_{match.lacks}", what=what, ratio=match.quotient, limit=limit,
                                  needed=_needed(match)))  # fmt: skip
        else:
            passed += 1
    below += [message(f"limit.{why}", what=where_and_what(row)) for why, rows in both.lost.items() for row in rows]
    return below, [*others, *([message("limit.passed", count=passed, limit=limit)] if passed else [])]


def before_after_table(both: BeforeAfter | None) -> pd.DataFrame:
    """A line for each configuration; `docs/tables.md` explains the columns."""
    return table_of({
        "row": str(match.after.name), "method": match.after.method, "devices": match.after.devices,
        **group_key(match.after.record, "weak"),
        **with_ends("times_as_fast", match.quotient),
        "runs_needed": match.needed,
        "differences": "; ".join(f"{name}: {one} -> {other}" for name, (one, other) in match.differences.items()),
        "runs_before": len(match.before.runs),
        **of_side("before", match.before),
        "runs_after": len(match.after.runs),
        **of_side("after", match.after),
    } for match in (both.matches if both else []))  # fmt: skip
