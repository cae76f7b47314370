"""Everything that the lab says about a folder of records, decided once. Console, page and figures only render it."""

from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from common.analysis.comparing.crossover_batch import BatchSeries, batch_series
from common.analysis.comparing.csv_files import comparison_table, run_line, table_of
from common.analysis.comparing.groups import compare_runs
from common.analysis.comparing.one_change import Ladder, OneChange, change_line, ladder_of, one_changes
from common.analysis.judging.proposals import NextStep, next_step, your_script
from common.analysis.judging.verdicts import Decision, decide
from common.analysis.predicting.forecast import GroupForecast, forecast_table
from common.analysis.predicting.inputs import Question
from common.analysis.reading.folder import Folder
from common.analysis.sections import other_sections
from common.analysis.sections.answer import Answer, answer_of, to_pass_on
from common.analysis.sections.campaign_sections import crossover_section, ladder_section
from common.analysis.sections.changes import Effect, changes, changes_section
from common.analysis.sections.group import GroupResults, group_results, group_section
from common.analysis.sections.headline import Headline, headline
from common.content import Message, Section, message

MAX_SERIES = 3


@dataclass
class Report:
    """All of it: results first, then the sections that show them."""

    folder: Folder
    groups: list[GroupResults]
    """The best measured one first: decision, headline and answer are about it."""
    decision: Decision
    headline: Headline
    answer: Answer | None
    """None without a speed in that group."""
    next_step: NextStep
    your_script: Message | None
    """What the reader's own script becomes; None where nothing is recommended yet."""
    to_pass_on: list[Message]
    """The decision in two sentences; empty where nothing is decided."""
    crossovers: list[BatchSeries]
    ladder: Ladder | None
    """The one of most trials."""
    one_changes: list[OneChange]
    """All pairs of configurations that differ in one fact, in whichever groups they are."""
    changes: list[Effect]
    """Those that no other section shows."""
    before_after: Section | None = None
    """Another folder's records beside these; it comes first."""

    @property
    def shown(self) -> list[GroupResults]:
        """The groups without those that only repeat others' runs."""
        return [results for results in self.groups if not results.is_repeated]

    @property
    def forecasts(self) -> list[tuple[int, GroupForecast]]:
        """Every group's predictions, by the group's number."""
        return [(results.number, results.prediction) for results in self.groups if results.prediction]

    @property
    def csv_tables(self) -> dict[str, pd.DataFrame]:
        """What step 05 writes beside the page, by the name of the file."""
        residuals = {one.row: one.items["residual"] for results in self.groups for one in results.breakdowns}
        return {
            "comparison.csv": comparison_table([results.group for results in self.groups], residuals),
            "runs.csv": table_of(map(run_line, self.folder.runs)),
            "one_change.csv": table_of(map(change_line, self.one_changes)),
            "predictions.csv": forecast_table(self.forecasts),
        }

    @property
    def banners(self) -> list[Message]:
        """What a reader must know before the numbers: which runs did not complete, unless the verdict names them, and
        which rows were emulated, shared or oversubscribed."""
        lines, whose = [], []
        in_verdict = self.decision.failed.method if self.decision.choice == "failed" else None
        broken = [run.record for run in self.folder.runs if not run.is_comparable and run.record.method != in_verdict]
        for method, kind in dict.fromkeys((one.method, one.failure.kind if one.failure else "") for one in broken):
            name = message(f"short.{method}")
            whose.append(message("banner.unfinished_run", method=name, kind=kind) if kind else name)
        if broken:  # `3 runs did not complete, and are not compared: DP (out of memory).`
            lines.append(message("banner.unfinished", count=len(broken), whose=whose))
        rows = [row for results in self.groups for row in results.group.rows]
        kinds = {row.record.world.device_kind for row in rows}
        if "cpu" in kinds:
            lines.append(message("banner.cpu_in_some_groups" if "cuda" in kinds else "banner.cpu"))
        for flag in ("emulated", "shared", "oversubscribed"):
            if names := list(dict.fromkeys(row.name for row in rows if flag in row.record.world.flags)):
                lines.append(message(f"banner.{flag}", rows=names))
        return lines

    @cached_property
    def sections(self) -> list[Section]:
        """Everything below the answer, in order."""
        folder, unfinished = self.folder, [run for run in self.folder.runs if not run.is_comparable]
        sections = [
            self.before_after,
            *map(group_section, self.shown),
            *(crossover_section(number, series) for number, series in enumerate(self.crossovers, start=1)),
            ladder_section(self.ladder) if self.ladder else None,
            changes_section(self.changes),
            other_sections.separate_section({results.number: results.group for results in self.shown}),
            other_sections.unfinished_section(unfinished),
            other_sections.faults_section(folder.faults),
            other_sections.skipped_section(folder.skipped),
            other_sections.parts_section(folder.probed[-1]) if folder.probed else None,
            other_sections.machine_section(folder),
        ]
        return [section for section in sections if section]


def build_report(folder: Folder, question: Question | None = None) -> Report:
    """Compare and check everything in a folder; `question` says what to predict."""
    comparison = compare_runs(folder)
    groups, rows = comparison.groups, comparison.configurations
    crossovers = batch_series(rows, folder.runs)[:MAX_SERIES]
    ladder, pairs = ladder_of(rows, folder.runs), one_changes(rows)
    in_series = {row for series in crossovers for row in series.all_rows}
    in_ladder = ladder.rows if ladder else set()
    # A group is repeated where every run of it is in groups before it or, but for the first, in a series or ladder.
    results: list[GroupResults] = []
    shown: set[str] = set()
    elsewhere = {run.file for row in in_series | in_ladder for run in row.runs}
    for number, group in enumerate(groups, start=1):
        results.append(group_results(number, group, group.files <= shown, question or Question()))
        shown |= group.files | elsewhere
    best = results[0] if results else None
    decision = decide(best.group.representatives if best else [], folder.failed)
    answer = answer_of(best.group) if best else None
    done = [name for name, measured in (("crossover", crossovers), ("ladder", ladder)) if measured]
    return Report(
        folder, results, decision, headline(groups, decision), answer,
        next_step=next_step(decision, best.group.rows if best else [], done),
        your_script=your_script(decision),
        to_pass_on=to_pass_on(decision, answer, best.group, best.prediction) if answer else [],
        crossovers=crossovers, ladder=ladder, one_changes=pairs, changes=changes(pairs, in_series, in_ladder),
    )  # fmt: skip
