"""Pick one row per method to represent it, by its settings and never by its speed."""

from collections.abc import Sequence

from common.analysis.comparing.facts import Fact, closest, grouped
from common.analysis.comparing.rows import Row
from common.records import method_order

PURPOSES: dict[Fact, int] = {"lab": 2, "exercise": 2, "by_hand": 1, "unknown": 1}
"""What a row was run for; the higher, the rather it represents its method: a campaign that asks for the answer itself,
runs by hand (or nobody knows), and with 0 any other campaign."""


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
    campaigns = grouped(on_these, lambda row: row.facts["campaign"])
    rounds = {campaign: sum(_most_rounds(of_campaign)) for campaign, of_campaign in campaigns.items()}

    def quality(row: Row) -> tuple:
        of_campaign = rounds[row.facts["campaign"]]
        return row.has_default_options, of_campaign, purpose_of(row), row.rounds, row.record.started_at

    by_method = grouped(sorted(on_these, key=quality), lambda row: row.method)
    best = [alike[-1] for alike in by_method.values()]
    first = min(best, key=lambda row: (not row.is_parallel, method_order(row.method)), default=None)
    like_best = [[row for row in alike if row.has_default_options == one.has_default_options]
                 for one, alike in zip(best, by_method.values(), strict=True)]  # fmt: skip
    return [closest(first.facts, alike, lambda row: row.facts) for alike in like_best] if first else []


def _best_measured_count(rows: Sequence[Row]) -> int:
    """The number of devices on which both methods ran, in the most rounds; of equals that of the campaign which asks
    for the answer, then the largest. 1 without any."""
    several = grouped((row for row in rows if row.devices > 1), lambda row: row.devices)

    def quality(count: int) -> tuple:
        rounds = _most_rounds(several[count])
        return len(rounds), min(rounds), max(map(purpose_of, several[count])), count

    return max(several, key=quality, default=1)


def _most_rounds(rows: Sequence[Row]) -> list[int]:
    """The most rounds that a row of each method has."""
    by_method = grouped(rows, lambda row: row.method)
    return [max(row.rounds for row in alike) for alike in by_method.values()]


def purpose_of(row: Row) -> int:
    """Of `PURPOSES`."""
    return PURPOSES.get(row.facts["campaign"], 0)


def oversubscribed_rows(rows: Sequence[Row]) -> list[Row]:
    """Rows of several devices that took turns, where there are no others: each method's best measured, DP first."""
    several = [row for row in rows if row.is_valid and row.default_options_row is None and row.devices > 1]
    if any(row.true_devices for row in several):
        return []
    by_rounds = sorted(several, key=lambda row: (row.rounds, row.devices, row.record.started_at))
    best = {row.method: row for row in by_rounds}
    return sorted(best.values(), key=lambda row: method_order(row.method))
