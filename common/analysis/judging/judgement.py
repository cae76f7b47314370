"""Everything that the lab says about a folder of records, judged once. Console, page and figures only render it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pandas as pd

from common.analysis.comparing.comparison_csv import comparison_table
from common.analysis.comparing.facts import Facts
from common.analysis.comparing.groups import Group, build_groups
from common.analysis.comparing.rows import ENOUGH_RUNS, Row
from common.analysis.comparing.tables import tidy
from common.analysis.judging import banners
from common.analysis.judging.across_groups import AcrossGroups, across_groups
from common.analysis.judging.answer import Answer, answer_of
from common.analysis.judging.cells import Table
from common.analysis.judging.checkpoints import Checkpoint, Evidence, five_checkpoints
from common.analysis.judging.comparison_cells import comparison_cells
from common.analysis.judging.fault_cells import FaultsCaused, faults_caused
from common.analysis.judging.forecast_cells import Foresight, foresee
from common.analysis.judging.group_why import GroupWhy, group_why
from common.analysis.judging.headline import Headline, headline
from common.analysis.judging.machine_facts import Pairs, machines, step_01_facts
from common.analysis.judging.options_effect import Effect, effects, without_default
from common.analysis.judging.parts import MeasuredParts, measured_parts
from common.analysis.judging.published import PublishedComparison, published_beside
from common.analysis.judging.row_checks import PooledCheck, pooled_checks
from common.analysis.judging.row_tables import accuracy_table, memory_table, options_table
from common.analysis.judging.verdicts import group_verdicts
from common.analysis.predicting.forecast import GroupForecast, forecast_table
from common.analysis.predicting.question import Question
from common.analysis.reading.folder import Folder
from common.analysis.reading.runs import Run
from common.content.messages import Message

MAX_GROUPS_IN_FULL = 4
"""The best measured groups get reasons, advice and figures; a folder of many models would make the page endless."""
MAX_ROWS, MAX_COMMANDS = 60, 5


@dataclass
class GroupJudgement:
    """What is said of one group."""

    number: int
    """As on the page, from 1."""
    group: Group
    title: Message
    short: Message
    """A title for the contents."""
    scaling: Message
    images: Message
    """What was trained on."""
    checks: dict[Row, list[PooledCheck]]
    comparison: Table
    verdicts: list[Message]
    differences: list[Message]
    effects: list[Effect]
    options: Table | None
    without_default: list[Message]
    memory: Table | None
    accuracy: Table | None
    settings: Facts
    commands: list[tuple[Row, list[tuple[str, int]]]]
    foresight: Foresight | None
    """What N devices would do; with `why` alone."""
    why: GroupWhy | None
    """None beyond the first groups, and where the group is repeated."""
    is_repeated: bool = False
    """Whether every run of the group stands in groups before it as well: then the page does not show it again."""

    @property
    def has_few_runs(self) -> bool:
        """Whether some rows rest on fewer than three runs."""
        return any(len(row.runs) < ENOUGH_RUNS for row in self.group.rows)


@dataclass
class Judgement:
    """All of it."""

    headline: Headline
    answer: Answer | None
    groups: list[GroupJudgement]
    csv_tables: dict[str, pd.DataFrame]
    """What step 05 writes beside the page, by the name of the file."""
    across: AcrossGroups
    banners: list[Message]
    why_separate: list[Message]
    has_few_runs: bool
    """Whether some rows rest on fewer than three runs."""
    unfinished: list[Run]
    machines: list[Pairs] = field(default_factory=list)
    step_01: Pairs = field(default_factory=list)
    parts: MeasuredParts | None = None
    forecasts: list[tuple[int, GroupForecast]] = field(default_factory=list)
    """Every group's predictions, by the group's number."""
    published: PublishedComparison | None = None
    checkpoints: list[Checkpoint] = field(default_factory=list)
    faults: FaultsCaused | None = None
    """Those that were caused on purpose."""

    @property
    def shown(self) -> list[GroupJudgement]:
        """The groups without those that only repeat others' runs."""
        return [part for part in self.groups if not part.is_repeated]


def judge(folder: Folder, question: Question | None = None) -> Judgement:
    """Compare and judge everything in a folder; `question` says what to predict."""
    tables = tidy(folder.runs, folder.probed)
    groups = build_groups(tables)
    across = across_groups(tables, folder.runs, groups)
    repeated = _repeated(groups, across.files)
    judged = [
        _judge_group(number, group, question or Question(), number <= MAX_GROUPS_IN_FULL, is_repeated)
        for number, (group, is_repeated) in enumerate(zip(groups, repeated, strict=True), start=1)
    ]
    forecasts = [(part.number, part.foresight.found) for part in judged if part.foresight]
    evidence = Evidence(
        folder,
        groups,
        [part.why for part in judged if part.why],
        [found for _, found in forecasts],
        [effect for part in judged for effect in part.effects],
        across,
    )
    csv_tables = {
        "comparison.csv": comparison_table(groups),
        "runs.csv": tables.runs,
        "one_change.csv": across.one_change_table,
        "predictions.csv": forecast_table(forecasts),
    }
    return Judgement(
        headline=headline(groups),
        answer=answer_of(groups[0], judged[0].checks) if groups else None,
        groups=judged,
        forecasts=forecasts,
        csv_tables=csv_tables,
        across=across,
        banners=banners.banners(groups),
        why_separate=banners.why_separate({part.number: part.group for part in judged if not part.is_repeated}),
        has_few_runs=any(part.has_few_runs for part in judged),
        unfinished=[run for run in folder.runs if not run.is_comparable],
        machines=machines(folder),
        step_01=step_01_facts(folder.environment) if folder.environment else [],
        parts=measured_parts(folder.probed[-1]) if folder.probed else None,
        published=published_beside(groups),
        faults=faults_caused(folder.faults),
        checkpoints=five_checkpoints(evidence),
    )


def _repeated(groups: list[Group], in_series: set[str]) -> list[bool]:
    """For each group but the first: whether all of its runs stand in groups before it, or elsewhere on the page."""
    seen: set[str] = set()
    found = []
    for group in groups:
        files = {run.file for row in group.rows for run in row.runs}
        found.append(files <= seen)
        seen |= files | in_series
    return found


def _judge_group(number: int, group: Group, question: Question, in_full: bool, is_repeated: bool) -> GroupJudgement:
    rows = group.rows[:MAX_ROWS]
    checks = {row: pooled_checks(row) for row in {*rows, *group.main_rows[:MAX_ROWS]}}
    found = [effect for effect in effects(group) if effect.row in checks and effect.row.default_options_row in checks]
    in_full = in_full and not is_repeated
    foresight = foresee(group, question) if in_full else None
    return GroupJudgement(
        number=number,
        group=group,
        title=banners.group_title(group),
        short=banners.group_short(group),
        scaling=banners.scaling_meaning(group),
        images=banners.images_of(group),
        checks={row: checks[row] for row in rows},
        comparison=comparison_cells(group, checks),
        verdicts=group_verdicts(group),
        differences=banners.unequal_terms(group),
        effects=found,
        options=options_table(found, checks),
        without_default=without_default(group),
        memory=memory_table(group),
        accuracy=accuracy_table(group),
        settings={**group.key, **group.shared_facts},
        commands=[(row, Counter(run.record.command for run in row.runs).most_common()[:MAX_COMMANDS]) for row in rows],
        foresight=foresight,
        why=group_why(group, checks, foresight) if in_full else None,
        is_repeated=is_repeated,
    )
