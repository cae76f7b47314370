"""What DP and DDP cost on a single device, where they have nothing to gain, and the commands that measure it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from common.analysis.comparing.groups import Group
from common.analysis.comparing.rows import Row
from common.analysis.judging.proposals import training_command
from common.analysis.judging.verdicts import missing_runs
from common.analysis.statistics.estimates import outcome_of_ratio
from common.content.messages import Message, message
from common.records import METHODS


@dataclass(frozen=True)
class WrapperPrice:
    """The price, and what produces what is missing of it."""

    lines: list[Message]
    commands: list[str]
    """Empty where nothing is missing."""


def wrapper_price(group: Group) -> WrapperPrice:
    """Every wrapped row on one device against plain training of the same group."""
    rows = [row for row in group.main_rows if row.devices == 1 and row.is_parallel and row.speed_up]
    lines, wrapped = [_price(row) for row in rows], {name for name in METHODS if METHODS[name].is_parallel}
    return WrapperPrice(lines, [] if wrapped <= {row.method for row in rows} else list(_commands(group)))


def _price(row: Row) -> Message:
    ratio = row.speed_up
    outcome = outcome_of_ratio(ratio)
    return message(f"wrapper.{outcome}", row=row.name, ratio=ratio, missing=missing_runs(row, row.baseline))


def _commands(group: Group) -> Iterator[str]:
    """Every method on one device, so that their records land in this very group."""
    record, checks = group.rows[0].record, group.rows[0].tables.probed
    for name, method in METHODS.items():
        if not (record.config.compile and method.has_replicas):  # step 03 has no --compile
            yield training_command(record, name, checks)
