"""Pick one row per method to represent it, by its settings and never by its speed."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from enum import IntEnum
from typing import TypeVar

from common.analysis.comparing.facts import campaign_of, closest, grouped
from common.analysis.comparing.rows import Row
from common.records import Method, method_order


class Purpose(IntEnum):
    """What a row was run for; the higher, the rather it represents its method."""

    OTHER_CAMPAIGN = 0
    BY_HAND = 1
    """Or nobody knows."""
    ANSWER = 2
    """A campaign whose purpose is the answer itself."""


PURPOSES = {"lab": Purpose.ANSWER, "exercise": Purpose.ANSWER, "by_hand": Purpose.BY_HAND, "unknown": Purpose.BY_HAND}
K = TypeVar("K", bound=Hashable)
Rounds = dict[Method, int]
"""The most rounds that a row of each method has."""


def representative_rows(rows: Sequence[Row]) -> list[Row]:
    """One row of each method, all on the number of true devices that is measured best.

    Where a method has several configurations, one represents it by how well it is measured and by its settings, and
    never by its speed: of enough tries the fastest wins by luck alone. It is the one that differs least from DP's row
    (from DDP's, where there is no DP). DP's own is of the campaign that measured all methods in most rounds, so that a
    few more runs for another purpose move nothing; then the one of most runs (three are enough), of equals the newest.
    DDP with its default options goes before any other.
    """
    valid = [row for row in rows if row.is_valid and row.default_options_row is None]
    true = [row for row in valid if row.true_devices] or valid
    devices = _best_measured_count(true)
    on_these = [row for row in true if row.devices == devices or not row.is_parallel]
    campaigns = _rounds_by(on_these, _campaign)

    def quality(row: Row) -> tuple:
        rounds = sum(campaigns[_campaign(row)].values())
        return row.has_default_options, rounds, purpose_of(row), row.rounds, row.record.started_at

    by_method = grouped(sorted(on_these, key=quality), _method)
    best = [alike[-1] for alike in by_method.values()]
    first = min(best, key=lambda row: (not row.is_parallel, method_order(row.method)), default=None)
    like_best = [[row for row in alike if row.has_default_options == one.has_default_options]
                 for one, alike in zip(best, by_method.values(), strict=True)]  # fmt: skip
    return [closest(first.facts, alike, lambda row: row.facts) for alike in like_best] if first else []


def _best_measured_count(rows: Sequence[Row]) -> int:
    """The number of devices on which both methods ran, in the most rounds; of equals that of the campaign which asks
    for the answer, then the largest. 1 without any."""
    several = [row for row in rows if row.devices > 1]
    rounds = _rounds_by(several, lambda row: row.devices)

    def quality(count: int) -> tuple:
        purpose = max(purpose_of(row) for row in several if row.devices == count)
        return len(rounds[count]), min(rounds[count].values()), purpose, count

    return max(rounds, key=quality, default=1)


def _rounds_by(rows: Sequence[Row], key: Callable[[Row], K]) -> dict[K, Rounds]:
    return {of: {method: max(row.rounds for row in alike) for method, alike in grouped(of_key, _method).items()}
            for of, of_key in grouped(rows, key).items()}  # fmt: skip


def _method(row: Row) -> Method:
    return row.method


def _campaign(row: Row) -> str:
    return campaign_of(row.record)


def purpose_of(row: Row) -> Purpose:
    return PURPOSES.get(_campaign(row), Purpose.OTHER_CAMPAIGN)


def oversubscribed_rows(rows: Sequence[Row]) -> list[Row]:
    """Rows of several devices that took turns, where there are no others: each method's best measured, DP first."""
    several = [row for row in rows if row.is_valid and row.default_options_row is None and row.devices > 1]
    if any(row.true_devices for row in several):
        return []
    by_rounds = sorted(several, key=lambda row: (row.rounds, row.devices, row.record.started_at))
    best = {row.method: row for row in by_rounds}
    return sorted(best.values(), key=lambda row: method_order(row.method))
