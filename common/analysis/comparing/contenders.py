"""One row of each method speaks for it: the ones that the outcome is about, chosen by their terms, never by speed."""

from __future__ import annotations

from collections.abc import Sequence

from common.analysis.comparing.facts import closest
from common.analysis.comparing.rows import Row
from common.records import Method


def contenders(rows: Sequence[Row]) -> list[Row]:
    """One row of each method, all on the number of true devices that is measured best.

    Where a method has several configurations, one speaks for it by how well it is measured and by its terms, and never
    by its speed: of enough tries the fastest wins by luck alone. It is the one that differs least from DP's row (from
    DDP's, where there is no DP). DP's own is the one of most runs (three are enough), of equals the newest. DDP with
    its default options goes before any other.
    """
    valid = [row for row in rows if row.is_valid and row.standard is None]
    true = [row for row in valid if row.true_devices] or valid
    devices = _best_measured_count(true)
    by_method: dict[Method, list[Row]] = {}
    for row in sorted(true, key=lambda row: (row.has_default_options, row.rounds, row.record.started_at)):
        if row.devices == devices or row.method == "single":
            by_method.setdefault(row.method, []).append(row)
    return _on_equal_terms(by_method)


def _best_measured_count(rows: Sequence[Row]) -> int:
    """The number of devices on which both methods ran, in the most rounds; of equals the largest. 1 without any."""
    counts: dict[int, dict[Method, int]] = {}
    for row in rows:
        if row.devices > 1:
            rounds = counts.setdefault(row.devices, {})
            rounds[row.method] = max(row.rounds, rounds.get(row.method, 0))
    return max(counts, key=lambda count: (len(counts[count]), min(counts[count].values()), count), default=1)


def _on_equal_terms(by_method: dict[Method, list[Row]]) -> list[Row]:
    """One row of each method; the last of a method's rows goes before the others."""
    if "ddp" in by_method and by_method["ddp"][-1].has_default_options:
        by_method["ddp"] = [row for row in by_method["ddp"] if row.has_default_options]
    first = next((by_method[method][-1] for method in ("dp", "ddp", "single") if method in by_method), None)
    return [closest(first.facts, rows, lambda row: row.facts) for rows in by_method.values()] if first else []


def turn_takers(rows: Sequence[Row]) -> list[Row]:
    """Rows of several devices that took turns, where there are no others: each method's best measured, DP first."""
    several = [row for row in rows if row.is_valid and row.standard is None and row.devices > 1]
    if any(row.true_devices for row in several):
        return []
    best: dict[Method, Row] = {}
    for row in sorted(several, key=lambda row: (row.rounds, row.devices, row.record.started_at)):
        best[row.method] = row
    return [best[method] for method in ("dp", "ddp") if method in best]


def how_well_measured(rows: Sequence[Row]) -> tuple:
    """Orders groups: methods on true devices, then methods at all, then runs of each. The last part is the time at
    which the last of the contenders was first complete, so that one more run of an old experiment moves nothing."""
    found = contenders(rows) or list(rows)
    several = [row for row in found if row.devices > 1 and row.true_devices]
    methods = {row.method for row in rows}
    return (
        len({row.method for row in found}) if several else 1,
        len(methods),
        min(row.rounds for row in found),
    ), max(row.runs[0].record.started_at for row in found)
