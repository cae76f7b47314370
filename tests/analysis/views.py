"""Records seen as the analysis sees them, for tests."""

from __future__ import annotations

from analysis.factories import make_probed_record
from common.analysis.comparing.groups import Group, build_groups
from common.analysis.comparing.rows import Row
from common.analysis.comparing.tables import Tables, tidy
from common.analysis.judging.checking import Check
from common.analysis.judging.run_checks import check_run
from common.analysis.page.wording import Wording
from common.analysis.reading.runs import summarise
from common.records import Probes, Record

WORDS = Wording()


def tables_of(*records: Record) -> Tables:
    return tidy([summarise(f"{record.run_id}.json", record) for record in records])


def groups_of(*records: Record) -> list[Group]:
    return build_groups(tables_of(*records))


def rows_of(*records: Record) -> dict[str, Row]:
    """The rows of the only group, by their labels."""
    (group,) = groups_of(*records)
    return {label(row): row for row in group.rows}


def label(row: Row) -> str:
    return WORDS.text(row.name)


def said(findings) -> list[str]:
    """Findings as the page says them."""
    return WORDS.lines(findings)


def check_of(record: Record, id: str) -> Check:
    (check,) = [check for check in check_run(summarise("run.json", record)) if check.id == id]
    return check


def outcome(record: Record, id: str) -> str:
    return check_of(record, id).outcome


def reason(record: Record, id: str) -> str:
    return WORDS.text(check_of(record, id).reason)


def probed(*probes: Probes) -> list:
    """Records of step 01 with these probes, the newest last."""
    return [make_probed_record(found) for found in probes]
