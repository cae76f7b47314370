"""One row of each method speaks for it: the ones that the outcome is about, chosen by their terms, never by speed."""

from __future__ import annotations

from collections.abc import Sequence

from common.analysis.comparing.facts import Fact, closest
from common.analysis.comparing.rows import Row
from common.records import METHODS, Method, method_order

ANSWERING = ("lab", "exercise")
"""Campaigns whose purpose is the answer itself. Runs by hand come after them, then campaigns with other purposes."""


def contenders(rows: Sequence[Row]) -> list[Row]:
    """One row of each method, all on the number of true devices that is measured best.

    Where a method has several configurations, one speaks for it by how well it is measured and by its terms, and never
    by its speed: of enough tries the fastest wins by luck alone. It is the one that differs least from DP's row (from
    DDP's, where there is no DP). DP's own is of the campaign that measured all methods in most rounds, so that a few
    more runs for another purpose move nothing; then the one of most runs (three are enough), of equals the newest. DDP
    with its default options goes before any other.
    """
    valid = [row for row in rows if row.is_valid and row.standard is None]
    true = [row for row in valid if row.true_devices] or valid
    devices = _best_measured_count(true)
    on_these = [row for row in true if row.devices == devices or not row.is_parallel]
    campaigns = _rounds_of_campaigns(on_these)

    def quality(row: Row) -> tuple:
        rounds = campaigns[row.facts["campaign"]]
        return row.has_default_options, rounds, _aim(row), row.rounds, row.record.started_at

    by_method: dict[Method, list[Row]] = {}
    for row in sorted(on_these, key=quality):
        by_method.setdefault(row.method, []).append(row)
    return _on_equal_terms(by_method)


def _rounds_of_campaigns(rows: Sequence[Row]) -> dict[Fact, int]:
    """Rounds of all methods together, for each campaign."""
    rounds: dict[Fact, dict[Method, int]] = {}
    for row in rows:
        of_campaign = rounds.setdefault(row.facts["campaign"], {})
        of_campaign[row.method] = max(row.rounds, of_campaign.get(row.method, 0))
    return {campaign: sum(by_method.values()) for campaign, by_method in rounds.items()}


def _aim(row: Row) -> int:
    campaign = row.facts["campaign"]
    return 2 if campaign in ANSWERING else 1 if campaign in ("by_hand", "unknown") else 0


def _best_measured_count(rows: Sequence[Row]) -> int:
    """The number of devices on which both methods ran, in the most rounds; of equals that of the campaign which asks
    for the answer, then the largest. 1 without any."""
    counts: dict[int, dict[Method, int]] = {}
    aims: dict[int, int] = {}
    for row in rows:
        if row.devices > 1:
            rounds = counts.setdefault(row.devices, {})
            rounds[row.method] = max(row.rounds, rounds.get(row.method, 0))
            aims[row.devices] = max(_aim(row), aims.get(row.devices, 0))

    def quality(count: int) -> tuple:
        return len(counts[count]), min(counts[count].values()), aims[count], count

    return max(counts, key=quality, default=1)


def _on_equal_terms(by_method: dict[Method, list[Row]]) -> list[Row]:
    """One row of each method; the last of a method's rows goes before the others."""
    for method, rows in by_method.items():
        by_method[method] = [row for row in rows if row.has_default_options == rows[-1].has_default_options]
    in_order = sorted(by_method, key=lambda method: (not METHODS[method].is_parallel, method_order(method)))
    first = by_method[in_order[0]][-1] if in_order else None
    return [closest(first.facts, rows, lambda row: row.facts) for rows in by_method.values()] if first else []


def turn_takers(rows: Sequence[Row]) -> list[Row]:
    """Rows of several devices that took turns, where there are no others: each method's best measured, DP first."""
    several = [row for row in rows if row.is_valid and row.standard is None and row.devices > 1]
    if any(row.true_devices for row in several):
        return []
    best: dict[Method, Row] = {}
    for row in sorted(several, key=lambda row: (row.rounds, row.devices, row.record.started_at)):
        best[row.method] = row
    return sorted(best.values(), key=lambda row: method_order(row.method))


def how_well_measured(rows: Sequence[Row]) -> tuple:
    """Orders groups: methods on true devices, then methods at all, then runs of each, then what they were run for. The
    last part is the time at which the last of the contenders was first complete, so that one more run of an old
    experiment moves nothing."""
    found = contenders(rows) or list(rows)
    several = [row for row in found if row.devices > 1 and row.true_devices]
    methods = {row.method for row in rows}
    return (
        len({row.method for row in found}) if several else 1,
        len(methods),
        min(row.rounds for row in found),
        min(map(_aim, found)),
    ), max(row.runs[0].record.started_at for row in found)
