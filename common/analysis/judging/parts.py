"""What step 01 measured of the machine's parts, as tables."""

from __future__ import annotations

from dataclasses import dataclass

from common.content.messages import Message
from common.content.sections import Table
from common.content.step_01 import all_reduce_table, not_measured, probe_tables
from common.records import AllReduce, EnvironmentRecord


@dataclass(frozen=True)
class MeasuredParts:
    """The newest probes of step 01."""

    host: str
    tables: list[Table]
    all_reduce: AllReduce | None
    curve: Table | None
    missing: list[Message]
    """What was not measured, and why."""


def measured_parts(record: EnvironmentRecord) -> MeasuredParts:
    """All that one record's probes have to show."""
    probes = record.probes
    curve = all_reduce_table(probes.all_reduce) if probes.all_reduce else None
    return MeasuredParts(
        record.environment.hostname, probe_tables(probes), probes.all_reduce, curve, not_measured(probes)
    )
