"""One group of runs that may be compared: all that is decided on it, and its part of the page."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

from common.analysis.comparing.groups import Group
from common.analysis.comparing.rows import ENOUGH_RUNS, Row
from common.analysis.judging.advice import Advice, advise
from common.analysis.judging.breakdown import Breakdown, breakdowns, sentence_of
from common.analysis.judging.new_threads import new_thread_section
from common.analysis.judging.reasons import reasons, wrapper_commands, wrapper_costs
from common.analysis.judging.row_checks import PooledCheck, checks_section, pooled_checks
from common.analysis.judging.verdicts import group_verdicts
from common.analysis.predicting.forecast import GroupForecast, forecast
from common.analysis.predicting.links import Question
from common.analysis.sections.changes import Effect, effects, options_section
from common.analysis.sections.comparison import group_table, in_brief
from common.analysis.sections.differences import group_short, group_title, images_of, scaling_meaning, unequal_terms
from common.analysis.sections.prediction import prediction_advice, prediction_section
from common.analysis.sections.row_tables import accuracy_table, expert_tables, memory_table
from common.content import (
    Commands,
    Figure,
    Inline,
    Lines,
    Message,
    Pairs,
    Paragraph,
    Section,
    fold,
    hint,
    lead,
    message,
    sheet,
)

MAX_GROUPS_IN_FULL = 4
"""The best measured groups get reasons, advice and figures; a folder of many models would make the page endless."""
MAX_ROWS, MAX_COMMANDS, MAX_VERDICTS = 60, 5, 100
FIGURES = ("scaling", "throughput", "memory", "loss")


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
    def place(self) -> str:
        """Its id on the page."""
        return f"group-{self.number}"

    @property
    def is_in_full(self) -> bool:
        """Whether it has reasons, advice, predictions and figures."""
        return self.number <= MAX_GROUPS_IN_FULL and not self.is_repeated

    @property
    def has_few_runs(self) -> bool:
        """Whether some rows rest on fewer than three runs."""
        return any(len(row.runs) < ENOUGH_RUNS for row in self.group.rows)

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


def group_section(results: GroupResults) -> Section:
    """The table, what follows from it, why, what to do, and everything behind it."""
    group, figures = results.group, f"group{results.number}"
    table = group_table(group, f"{results.place}-checks")
    contents: list = [
        lead(scaling_meaning(group), images_of(group), Inline(message("page.group", number=results.number), "group")),
        in_brief(table),
    ]
    if table.left_out:
        contents.append(hint(message("page.rows_left_out", count=table.left_out)))
    if results.has_few_runs:
        contents.append(hint(message("page.few_runs"), Inline(message("page.interval"), "interval")))
    if results.verdicts:
        pairs = Lines(results.verdicts[:MAX_VERDICTS], "verdicts")
        # The page's first lines and its recommendations have told those of the first group.
        contents += [pairs] if results.number > 1 else []
    if results.differences:
        contents.append(Section(title=message("page.differs"), contents=[Lines(results.differences)], style="note"))
    if results.is_in_full:
        contents += [_why(results, figures), *new_thread_section(group)]
    else:
        contents.append(hint(message("page.groups_in_full", count=MAX_GROUPS_IN_FULL)))
    contents.append(options_section(group, results.effects, results.number))
    whole = [table] if group.on_gpu else [table, hint(message("page.process_memory"))]
    contents += [*_advice(results.advice), fold(message("page.with_intervals"), *whole)]
    if results.prediction:
        contents.append(prediction_section(results.prediction))
    if results.is_in_full:
        shown = FIGURES[1:] if results.number == 1 else FIGURES  # the page's first screen has scaling
        more = Section(style="figures", contents=[Figure(f"{figures}_{name}") for name in shown])
        contents.append(fold(message("page.more_figures"), more))
    contents += [
        checks_section(results.checks, results.place),
        Section(title=message("page.details"), contents=_details(results)),
    ]
    return Section(results.place, results.title, contents, short=group_short(group), style="group")


def _why(results: GroupResults, figures: str) -> Section:
    """The figure of a step; below it, folded, its phases, and all of it in words."""
    group, title = results.group, message("page.why_steps")
    notes: list = [message("note.profile", row=row.name, note=run.profile_note)
             for row in group.rows for run in row.runs if run.profile_note]  # fmt: skip
    wrapper = Inline(message("line.head", text=message("page.wrapper")), "wrapper")
    notes += [(wrapper, line) for line in wrapper_costs(group)]
    if not any(row.profile for row in group.main_rows):
        parts = [hint(message("page.no_profile")), *(Paragraph([note]) for note in notes)]
        return Section(title=title, contents=parts)
    lines = [*map(sentence_of, results.breakdowns), *reasons(group), *notes]
    steps, contents = Figure(f"{figures}_steps", is_titled=False), []
    if results.breakdowns:
        contents = [Figure(f"{figures}_breakdown", is_titled=False), fold(message("page.phases"), steps)]
    else:
        contents = [steps]
    return Section(title=title, contents=[*contents, fold(message("page.in_words"), Lines(lines, "verdicts"))])


def _advice(advice: list[Advice]) -> list[Section]:
    lines = [(Inline(line.what), *filter(None, (line.how, line.because))) for line in advice]
    return [fold(message("console.recommendations"), Lines(lines), hint(message("page.rules")))] if lines else []


def _details(results: GroupResults) -> list[Section]:
    group, parts = results.group, []
    if memory := memory_table(group):
        devices = "page.memory_of_every_device" if group.on_gpu else "page.memory_of_every_process"
        parts.append(fold(message(devices), memory))
    if accuracy := accuracy_table(group):
        parts.append(fold(message("page.accuracy"), sheet(accuracy)))
    if results.is_in_full:
        tables = expert_tables(group)
        parts += [fold(message("page.experts"), *map(sheet, tables))] if tables else []
        if commands := wrapper_commands(group):
            of_wrapper = (hint(message("page.wrapper_hint")), Commands(commands))
            parts.append(fold(message("page.wrapper_commands"), *of_wrapper))
    settings = {**group.key, **group.shared_facts}
    absent = {name for name, value in group.key.items() if value in (0, "") and value is not False}  # of other models
    pairs = [(message(f"fact.{name}"), message(f"fact_value.{name}", value=value))
             for name, value in settings.items() if name not in absent and value != "unknown"]  # fmt: skip
    runs = [run for row in group.rows for run in row.runs]
    older = sum(bool(run.times and run.times.steps_left_out) for run in runs)
    of_loader = [hint(message("page.loader_anew", runs=older, of=len(runs)))] if older else []
    return [*parts, fold(message("page.configuration"), *of_loader, Pairs(pairs)),
            fold(message("page.commands"), *_commands(group))]  # fmt: skip


def _commands(group: Group) -> list[Commands]:
    shown = []
    for row in group.rows[:MAX_ROWS]:
        for command, count in Counter(run.record.command for run in row.runs).most_common()[:MAX_COMMANDS]:
            heading = message("page.commands_of", row=row.name, count=count) if count > 1 else row.name
            shown.append(Commands([command], heading, row.method))
    return shown
