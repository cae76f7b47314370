"""One group of runs that may be compared: all that is decided on it, and its part of the page."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

from common.analysis.comparing.groups import Group
from common.analysis.comparing.rows import ENOUGH_RUNS, Row
from common.analysis.judging.advice import Advice, advise
from common.analysis.judging.breakdown import Breakdown, breakdown_table, breakdowns, sentence_of
from common.analysis.judging.reasons import reasons, wrapper_commands, wrapper_costs
from common.analysis.judging.row_checks import PooledCheck, failed_checks, pooled_checks
from common.analysis.judging.verdicts import group_verdicts
from common.analysis.predicting.forecast import GroupForecast, forecast
from common.analysis.predicting.question import Question
from common.analysis.sections.comparison import group_table
from common.analysis.sections.differences import group_short, group_title, images_of, scaling_meaning, unequal_terms
from common.analysis.sections.options import Effect, effects, options_section
from common.analysis.sections.prediction import prediction_advice, prediction_section
from common.analysis.sections.row_tables import accuracy_table, cost_tables, detail_tables, memory_table
from common.content.messages import Message, message
from common.content.sections import (
    Badge,
    Cell,
    Column,
    Commands,
    Figure,
    Line,
    Lines,
    Link,
    Pairs,
    Paragraph,
    Section,
    Strong,
    Table,
    folded,
    sheet,
)

MAX_GROUPS_IN_FULL = 4
"""The best measured groups get reasons, advice and figures; a folder of many models would make the page endless."""
MAX_ROWS, MAX_COMMANDS, MAX_VERDICTS, FIRST_REASONS = 60, 5, 100, 4


@dataclass(eq=False)
class GroupResults:
    """What is decided on one group."""

    number: int
    """As on the page, from 1."""
    group: Group
    is_repeated: bool
    """Whether every run of the group stands in groups before it as well: then the page does not show it again."""
    question: Question
    """What to predict."""

    @property
    def title(self) -> Message:
        """What it compares."""
        return group_title(self.group)

    @property
    def is_in_full(self) -> bool:
        """Whether it has reasons, advice, predictions and figures."""
        return self.number <= MAX_GROUPS_IN_FULL and not self.is_repeated

    @cached_property
    def verdicts(self) -> list[Message]:
        """Who is faster."""
        return group_verdicts(self.group)

    @cached_property
    def differences(self) -> list[Message]:
        """What else differs between its rows."""
        return unequal_terms(self.group)

    @cached_property
    def effects(self) -> list[Effect]:
        """What DDP's options do."""
        return effects(self.group)

    @property
    def checks(self) -> dict[Row, list[PooledCheck]]:
        """Every self-check of its rows."""
        return {row: pooled_checks(row) for row in self.group.rows[:MAX_ROWS]}

    @property
    def breakdowns(self) -> list[Breakdown]:
        """Of a step of each method."""
        return breakdowns(self.group) if self.is_in_full else []

    @cached_property
    def prediction(self) -> GroupForecast | None:
        """What N devices would do; None where there is nothing to predict from."""
        return forecast(self.group, self.question) if self.is_in_full else None

    @cached_property
    def advice(self) -> list[Advice]:
        """What to do next."""
        more = prediction_advice(self.group, self.question, self.prediction) if self.prediction else []
        return [*advise(self.group), *more] if self.is_in_full else []

    @property
    def has_few_runs(self) -> bool:
        """Whether some rows rest on fewer than three runs."""
        return any(len(row.runs) < ENOUGH_RUNS for row in self.group.rows)

    @property
    def comparison(self) -> Table:
        """The table of all rows."""
        return group_table(self.group, f"{self.place}-checks")

    @property
    def place(self) -> str:
        """Its id on the page."""
        return f"group-{self.number}"


def group_section(results: GroupResults) -> Section:
    """The table, what follows from it, why, what to do, and everything behind it."""
    group, figures = results.group, f"group{results.number}"
    hint = Link(message("page.small_figures"), "interval")
    left_out = results.comparison.left_out
    lead = [scaling_meaning(group), images_of(group), Link(message("page.group", number=results.number), "group")]
    few_runs = [message("page.few_runs"), Link(message("page.interval"), "interval")]
    contents = [
        Paragraph(lead, style="lead"),
        results.comparison,
        Paragraph([hint, *([message("page.rows_left_out", count=left_out)] if left_out else [])]),
        *([Paragraph(few_runs)] if results.has_few_runs else []),
        *([Lines(results.verdicts[:MAX_VERDICTS])] if results.verdicts else []),
        *_differences(results.differences),
        *([] if group.on_gpu else [Paragraph([message("page.process_memory")])]),
        *(_why(results, figures) if results.is_in_full
          else [Paragraph([message("page.groups_in_full", count=MAX_GROUPS_IN_FULL)])]),
        *([prediction_section(results.prediction)] if results.prediction else []),
        options_section(group, results.effects, results.place),
        *_more_figures(results, figures),
        _checks(results),
        Section(title=message("page.details"), contents=_details(results)),
    ]  # fmt: skip
    return Section(results.place, results.title, contents, short=group_short(group), style="group")


def _differences(lines: list[Message]) -> list[Section]:
    return [Section(title=message("page.differs"), contents=[Lines(lines, style="")], style="note")] if lines else []


def _why(results: GroupResults, figures: str) -> list[Section]:
    """Figures of a step with the reasons: beside each other two figures, or one and the reasons."""
    group, found = results.group, results.breakdowns
    anatomies = [row for row in group.main_rows if row.anatomy]
    notes = [message("note.anatomy", row=row.name, note=run.anatomy_note)
             for row in group.rows for run in row.runs if run.anatomy_note]  # fmt: skip
    wrapper = Link(message("line.head", text=message("page.wrapper")), "wrapper")
    of_wrapper = [(wrapper, line) for line in wrapper_costs(group)]
    if not anatomies:
        contents: list = [Paragraph([line], style="") for line in (*notes, *of_wrapper)]
        contents.insert(0, Paragraph([message("page.no_anatomy")]))
    else:
        disturbed = [message("reason.disturbed", row=row.name, reason=check.reason)
                     for row in dict.fromkeys((*group.rows[:MAX_ROWS], *group.main_rows[:MAX_ROWS]))
                     for check in failed_checks(pooled_checks(row), "anatomy")]  # fmt: skip
        lines = [*map(sentence_of, found), *reasons(group), *disturbed]
        shown = [*lines[:FIRST_REASONS], *notes, *of_wrapper]
        steps = Figure(f"{figures}_steps", is_titled=bool(found))
        if found:
            contents = [Section(style="beside two", contents=[Figure(f"{figures}_ledger"), steps]),
                        Lines(shown, style="verdicts why")]  # fmt: skip
        else:
            contents = [Section(style="beside", contents=[steps, Lines(shown)])]
        if more := lines[FIRST_REASONS:]:
            contents.append(folded(message("page.more_reasons"), Lines(more, style="")))
    return [Section(title=message("page.why_steps"), contents=contents), *_advice(results.advice)]


def _advice(advice: list[Advice]) -> list[Section]:
    lines = [(Strong(line.what), *filter(None, (line.how, line.because))) for line in advice]
    contents = [Lines(lines, style=""), Paragraph([message("page.rules")])]
    return [Section(title=message("console.recommendations"), contents=contents, style="advice")] if advice else []


def _more_figures(results: GroupResults, figures: str) -> list[Section]:
    names = ("throughput", "epoch_time", "scaling", "memory", "loss")
    drawn = Section(style="figures", contents=[Figure(f"{figures}_{name}") for name in names])
    return [folded(message("page.more_figures"), drawn)] if results.is_in_full else []


def _checks(results: GroupResults) -> Section:
    parts = []
    for row, pooled in results.checks.items():
        doubts = [part.check.id for part in pooled if part.check.has_failed]
        title = message("page.doubts" if doubts else "page.no_doubts", row=row.name, checks=doubts)
        lines = [Line([Cell(message(f"check_name.{part.check.id}")), Cell(_badge(part)), _reason(part)])
                 for part in pooled]  # fmt: skip
        shown = [Column("check"), Column("check_outcome"), Column("check_reason")]
        table = Table("checks", shown, lines, message("page.checks_of", row=row.name), style="checks")
        has_failed = any(part.check.outcome == "failed" for part in pooled)
        parts.append(Section(title=title, contents=[table], is_folded=True, is_open=has_failed, method=row.method))
    return Section(f"{results.place}-checks", message("page.checks"), parts)


def _badge(part: PooledCheck) -> Badge:
    return Badge(message(f"outcome.{part.check.outcome}"), part.check.outcome.replace(" ", "-"))


def _reason(part: PooledCheck) -> Cell:
    if part.alike == part.runs:
        return Cell(part.check.reason)
    return Cell(message("page.reason_of_runs", reason=part.check.reason, alike=part.alike, runs=part.runs))


def _details(results: GroupResults) -> list[Section]:
    group = results.group
    memory, accuracy, costs = memory_table(group), accuracy_table(group), cost_tables(group)
    every = [*([breakdown_table(results.breakdowns)] if results.breakdowns else []), *detail_tables(group)]
    devices = "page.memory_of_every_device" if group.on_gpu else "page.memory_of_every_process"
    parts = [
        *([folded(message(devices), memory)] if memory else []),
        *([folded(message("page.accuracy"), sheet(accuracy))] if accuracy else []),
    ]
    if results.is_in_full:
        wrapper = wrapper_commands(group)
        parts += [folded(message("page.why_tables"), *map(sheet, costs))] if costs else []
        parts += [folded(message("page.why_details"), *map(sheet, every))] if every else []
        hint = Paragraph([message("page.wrapper_hint")])
        parts += [folded(message("page.wrapper_commands"), hint, Commands(wrapper))] if wrapper else []
    settings = {**group.key, **group.shared_facts}
    pairs = [(message(f"fact.{name}"), message(f"fact_value.{name}", value=value)) for name, value in settings.items()]
    return [*parts, folded(message("page.configuration"), Pairs(pairs)),
            folded(message("page.commands"), *_commands(group))]  # fmt: skip


def _commands(group: Group) -> list[Commands]:
    found = []
    for row in group.rows[:MAX_ROWS]:
        for command, count in Counter(run.record.command for run in row.runs).most_common()[:MAX_COMMANDS]:
            heading = message("page.commands_of", row=row.name, count=count) if count > 1 else row.name
            found.append(Commands([command], heading, method=row.method))
    return found
