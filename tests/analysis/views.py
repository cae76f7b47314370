"""Records seen as the analysis sees them, for tests."""

from __future__ import annotations

import re
from collections.abc import Sequence

from analysis.factories import make_environment_record
from common.analysis.comparing.facts import fact_value
from common.analysis.comparing.groups import Group, compare_runs
from common.analysis.comparing.rows import Row
from common.analysis.judging.run_checks import Check, check_run
from common.analysis.reading.folder import Folder
from common.analysis.reading.runs import summarise
from common.records import Probes, Record
from common.sentences import Sentences

WORDS = Sentences()


def folder_of(*records: Record, probes: Sequence[Probes] = ()) -> Folder:
    """These runs and step 01's probes as they would be read, the newest last."""
    runs = [summarise(f"{record.run_id}.json", record) for record in records]
    return Folder(runs, probed=[make_environment_record(probes=measured) for measured in probes])


def groups_of(*records: Record, probes: Sequence[Probes] = ()) -> list[Group]:
    return compare_runs(folder_of(*records, probes=probes)).groups


def rows_of(*records: Record, probes: Sequence[Probes] = ()) -> dict[str, Row]:
    """The rows of the only group, by their labels."""
    (group,) = groups_of(*records, probes=probes)
    return {label(row): row for row in group.rows}


def without_marks(page: str) -> str:
    """A page without the marks and the spaces that keep words in one piece."""
    return re.sub('<span class="word">([^<]*)</span>', r"\1", page).replace("\u00a0", " ")


def label(row: Row) -> str:
    return WORDS.text(row.name)


def said(messages) -> list[str]:
    """Messages as the page says them."""
    return WORDS.lines(messages)


def fact(name: str, value) -> tuple[str, str]:
    """A fact's name and its value, as the page says them."""
    return WORDS.translate(f"fact.{name}"), WORDS.text(fact_value(name, value))


def check_of(record: Record, id: str) -> Check:
    (check,) = [check for check in check_run(summarise("run.json", record)) if check.id == id]
    return check


def outcome(record: Record, id: str) -> str:
    return check_of(record, id).outcome


def reason(record: Record, id: str) -> str:
    return WORDS.text(check_of(record, id).reason)
