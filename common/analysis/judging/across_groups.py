"""What is told of runs in whichever groups they stand: batches, the ladder, and what any single switch does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from common.analysis.comparing.crossover_batch import batch_series
from common.analysis.comparing.groups import Group, configurations
from common.analysis.comparing.ladder_rungs import ladder_of
from common.analysis.comparing.one_change import one_change_table, one_changes
from common.analysis.comparing.tables import Tables
from common.analysis.judging.catching_up import CatchingUp, catching_up
from common.analysis.judging.cells import Table
from common.analysis.judging.changes import Change, changes, changes_table
from common.analysis.judging.climb import Climb, climb
from common.analysis.reading.runs import Run

MAX_SERIES = 3


@dataclass
class AcrossGroups:
    """All of it."""

    batches: list[CatchingUp]
    climb: Climb | None
    """The ladder of most rungs."""
    changes: list[Change]
    changes_table: Table | None
    one_change_table: pd.DataFrame
    files: set[str]
    """Runs that batches and the ladder tell of."""


def across_groups(tables: Tables, runs: Sequence[Run], groups: Sequence[Group]) -> AcrossGroups:
    """Look at every configuration but those that are not valid in their group; `runs` are all runs, for those that did
    not complete."""
    withheld = {run.file for group in groups for row in group.rows if not row.is_valid for run in row.runs}
    rows = [row for row in configurations(tables) if row.runs[-1].file not in withheld]
    pairs = one_changes(rows)
    batches = [catching_up(series) for series in batch_series(rows, runs)[:MAX_SERIES]]
    ladder = ladder_of(rows, runs)
    in_series = {row for found in batches for row in found.series.all_rows}
    in_ladder = ladder.rows if ladder else set()
    changed = changes(pairs, in_series, in_ladder)
    return AcrossGroups(
        batches=batches,
        climb=climb(ladder) if ladder else None,
        changes=changed,
        changes_table=changes_table(changed),
        one_change_table=one_change_table(pairs),
        files={run.file for row in in_series | in_ladder for run in row.runs},
    )
