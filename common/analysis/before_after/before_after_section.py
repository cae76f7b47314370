"""Before and after on page and console, as a table of their own, and what a limit says of them."""

from pathlib import Path

import pandas as pd

from common.analysis.before_after.side_by_side import BeforeAfter, Match
from common.analysis.comparing.csv_files import Line as TableLine
from common.analysis.comparing.csv_files import of_side, table_of, with_ends
from common.analysis.comparing.facts import group_key, grouped
from common.analysis.comparing.rows import Row
from common.analysis.sections.changes import changed
from common.analysis.sections.comparison import row_and_settings, runs_note, speed_cell
from common.analysis.statistics.estimates import LEAST, MOST
from common.content import Cell, Line, Lines, Message, Section, Table, columns, lead, message, sheet

MAX_LINES, MAX_NAMED = 60, 6


def before_after_section(both: BeforeAfter, before: Path, after: Path) -> Section:
    """What differs, a table with a line for each configuration, and what stands on one side alone."""
    names = {"before": str(before), "after": str(after)}
    shown = columns("configuration:before-after", "before:throughput", "after:throughput",
                    "times_as_fast:before-after", "effect:before-after", "memory_difference:memory")  # fmt: skip
    lines = [Line(_cells(match), match.after.method) for match in both.matches[:MAX_LINES]]
    table = Table("before_after", shown, lines, hint=message("hint.before_after"),
                  left_out=len(both.matches) - len(lines))  # fmt: skip
    differences, others = _differences(both), _others(both)
    contents = [lead(message("before_after.lead", **names)), Lines(differences), sheet(table)]
    brief = [*differences, *(_in_brief(match) for match in both.matches), *others]
    return Section("before-after", message("page.before_after"), [*contents, *([Lines(others)] if others else [])],
                   style="group", brief=brief)  # fmt: skip


def where_and_what(row: Row) -> Message:
    """`DDP × 2, resnet18, 64 px, 16 samples per device`, without the device, which may differ."""
    return row_and_settings(row, "model_source")


def _cells(match: Match) -> list[Cell]:
    where = where_and_what(match.after)
    ratio_cell, outcome, memory = match.effect.cells
    is_open = match.outcome_at(1.0) == "undecided"
    outcome = Cell(outcome.value, notes=(_needed(match),) if is_open else ())
    return [
        Cell(match.after.name, notes=(message("note.plain", text=where), runs_note(match.after))),
        speed_cell(match.before),
        speed_cell(match.after),
        ratio_cell,
        outcome,
        memory,
    ]


def _in_brief(match: Match) -> Message:
    what = where_and_what(match.after)
    if match.has_runs:
        return match.effect.sentence(what)
    runs = {"before": len(match.before.runs), "after": len(match.after.runs), "least": LEAST}
    return message("before_after.few_runs", what=what, ratio=match.quotient, **runs)


def _needed(match: Match) -> Message:
    if not match.has_runs:
        return message("before_after.least_runs", runs=LEAST)
    return message("before_after.runs_needed" if match.needed else "before_after.too_many_runs", needed=_in_all(match))


def _in_all(match: Match) -> Message:
    """Rounds, or runs on each side, that would show a difference that matters."""
    unit = "rounds" if match.pairs else "runs_on_each_side"
    return message(f"before_after.{unit}", count=match.needed or MOST)


def _differences(both: BeforeAfter) -> list[Message]:
    """`torch: 2.11.0 → 2.13.0`, each with the configurations that it holds for, unless it holds for all."""
    lines = []
    for (fact, *values), matches in both.differences.items():
        line = changed(fact, tuple(values))
        if len(matches) < len(both.matches):
            line = message("before_after.of_some", difference=line, rows=[match.after.name for match in matches])
        lines.append(line)
    return lines or [message("before_after.no_difference")] * bool(both.matches)


def _others(both: BeforeAfter) -> list[Message]:
    """What is not compared: a line at most for each reason."""
    by_reason = {"only_before": both.only_before, "only_after": both.only_after, "withheld": both.withheld}
    lines = []
    for reason, rows in by_reason.items():
        names = message("before_after.rows", rows=[where_and_what(row) for row in rows[:MAX_NAMED]])
        more = len(rows) - MAX_NAMED
        names = message("before_after.more", shown=names, count=more) if more > 0 else names
        lines += [message(f"before_after.{reason}", rows=names)] if rows else []
    return [*lines, *([message("before_after.repeated", count=both.repeated)] if both.repeated else [])]


def limit_lines(both: BeforeAfter, limit: float) -> tuple[list[Message], list[Message]]:
    """What fell below `limit` times its throughput before, or cannot be compared any more; and what more runs would
    decide, or that nothing did."""
    by_outcome = grouped(both.matches, lambda match: match.outcome_at(limit))
    below = [_of_limit("below", match, limit) for match in by_outcome.get("below", [])]
    below += [message("limit.missing", what=where_and_what(row)) for row in both.missing]
    below += [message("limit.withheld", what=where_and_what(row)) for row in both.withheld_after]
    others = [_of_limit(_undecided(match), match, limit) for match in by_outcome.get("undecided", [])]
    passed = len(by_outcome.get("not_below", []))
    return below, [*others, *([message("limit.passed", count=passed, limit=limit)] if passed else [])]


def _undecided(match: Match) -> str:
    if not match.has_runs:
        return "undecided_least"
    return "undecided" if match.needed else "undecided_most"


def _of_limit(id: str, match: Match, limit: float) -> Message:
    return message(f"limit.{id}", what=where_and_what(match.after), ratio=match.quotient, limit=limit,
                   needed=_in_all(match) if match.has_runs else LEAST)  # fmt: skip


def before_after_table(both: BeforeAfter | None) -> pd.DataFrame:
    """A line for each configuration; `docs/tables.md` explains the columns."""
    return table_of(map(_line, both.matches if both else []))


def _line(match: Match) -> TableLine:
    before, after, differences = match.before, match.after, match.differences
    return {
        "row": str(after.name), "method": after.method, "devices": after.devices,
        **group_key(after.record, "weak"),
        **with_ends("times_as_fast", match.quotient),
        "runs_needed": match.needed,
        "differences": "; ".join(f"{name}: {one} -> {other}" for name, (one, other) in differences.items()),
        "runs_before": len(before.runs),
        **of_side("before", before),
        "runs_after": len(after.runs),
        **of_side("after", after),
    }  # fmt: skip
