"""One group of runs that may be compared: all that is decided on it, and its part of the page."""

from collections import Counter
from dataclasses import dataclass

from common.analysis.comparing.facts import fact_value, varying_facts
from common.analysis.comparing.groups import Group
from common.analysis.judging.advice import Advice, advise
from common.analysis.judging.breakdown import Breakdown, breakdowns
from common.analysis.judging.proposals import wrapper_commands
from common.analysis.judging.reasons import reasons, sentence_of
from common.analysis.judging.row_checks import checks_section
from common.analysis.judging.verdicts import group_verdicts, wrapper_costs
from common.analysis.predicting.forecast import GroupForecast, forecast
from common.analysis.predicting.inputs import Question
from common.analysis.sections.changes import Effect, effects, options_table, without_default
from common.analysis.sections.comparison import group_table, group_title, images_of, in_brief
from common.analysis.sections.other_sections import unequal_terms
from common.analysis.sections.prediction import prediction_advice, prediction_section
from common.analysis.sections.row_tables import accuracy_table, expert_tables, memory_table, new_thread_section
from common.content import Commands, Figure, Inline, Lines, Pairs, Paragraph, Section, details, opening, small
from common.messages import message

MAX_GROUPS_IN_FULL = 4
"""The best measured groups get reasons, advice and figures; a folder of many models would make the page endless."""
MAX_ROWS, MAX_COMMANDS, MAX_VERDICTS = 60, 5, 100
FIGURES = ("scaling", "throughput", "memory", "loss")


@dataclass(frozen=True, eq=False)
class GroupResults:
    """What is decided on one group."""

    number: int
    """As on the page, from 1."""
    group: Group
    is_repeated: bool
    """Whether every run of the group is in groups before it as well: then the page does not show it again."""
    is_in_full: bool
    """Whether it has reasons, advice, predictions and figures."""
    effects: list[Effect]
    """What DDP's options do."""
    breakdowns: list[Breakdown]
    """Of a step of each method."""
    prediction: GroupForecast | None
    """What N devices would do; None where there is nothing to predict from."""
    advice: list[Advice]
    """What to do next."""


def group_results(number: int, group: Group, is_repeated: bool, question: Question) -> GroupResults:
    """Decide on a group; `question` says what to predict."""
    in_full = number <= MAX_GROUPS_IN_FULL and not is_repeated
    prediction = forecast(group, question) if in_full else None
    of_prediction = prediction_advice(group, question, prediction) if prediction else []
    of_steps, advice = (breakdowns(group), [*advise(group), *of_prediction]) if in_full else ([], [])
    return GroupResults(number, group, is_repeated, in_full, effects(group), of_steps, prediction, advice)


def group_section(results: GroupResults) -> Section:
    """The table, what follows from it, why, what to do, and everything behind it."""
    number, group, in_full = results.number, results.group, results.is_in_full
    place, table = f"group-{number}", group_table(group, f"group-{number}-checks")
    # The page's first screen has the verdicts of the first group, and shows how it scales.
    verdicts, figures = (group_verdicts(group), FIGURES) if number > 1 else ([], FIGURES[1:])
    more_figures = Section(style="figures", contents=[Figure(f"group{number}_{name}") for name in figures])
    differences, has_few_runs = unequal_terms(group), any(row.missing_runs for row in group.rows)
    options = options_table(results.effects, f"{place}-checks")
    tried = [options.with_title, Figure(f"group{number}_options", is_titled=False)]
    link = Inline(message("line.head", text=message("column.options")), "ddp-options")
    # Where all rows have as many devices, weak and strong scaling mean the same.
    meaning = message(f"scaling.{group.scaling}" if group.scales else "nothing")
    to_do = [(Inline(one.what), *filter(None, (one.how, one.because))) for one in results.advice]
    contents = [
        opening(meaning, images_of(group), Inline(message("page.group", number=number), "group")),
        in_brief(table),
        small(message("page.rows_left_out", count=table.left_out)) if table.left_out else None,
        small(message("page.few_runs"), Inline(message("page.interval"), "interval")) if has_few_runs else None,
        Lines(verdicts[:MAX_VERDICTS], "verdicts") if verdicts else None,
        Section(title=message("page.differs"), contents=[Lines(differences)], style="note") if differences else None,
        *([_why_section(results), *new_thread_section(group)] if in_full
          else [small(message("page.groups_in_full", count=MAX_GROUPS_IN_FULL))]),
        Section(contents=[Section(style="options", contents=tried) if results.effects else None,
                          *(small(link, line) for line in without_default(group))]),
        details(message("console.recommendations"), Lines(to_do), small(message("page.rules"))) if to_do else None,
        details(message("page.with_intervals"), table, None if group.on_gpu else small(message("page.process_memory"))),
        prediction_section(results.prediction) if results.prediction else None,
        details(message("page.more_figures"), more_figures) if in_full else None,
        checks_section(group.rows[:MAX_ROWS], place),
        Section(title=message("page.details"), contents=_details(group, in_full)),
    ]  # fmt: skip
    return Section(place, group_title(group), contents, short=group_title(group, short=True), style="group")


def _why_section(results: GroupResults) -> Section:
    """The figure of a step; below it, folded, its phases, and all of it in words."""
    group, figures = results.group, f"group{results.number}"
    notes: list = [message("note.profile", row=row.name, note=run.profile_note)
             for row in group.rows for run in row.runs if run.profile_note]  # fmt: skip
    wrapper = Inline(message("line.head", text=message("page.wrapper")), "wrapper")
    notes += [(wrapper, line) for line in wrapper_costs(group)]
    if any(row.profile for row in group.main_rows):
        lines = [*map(sentence_of, results.breakdowns), *reasons(group), *notes]
        shown: list = [Figure(f"{figures}_steps", is_titled=False)]
        if results.breakdowns:
            shown = [Figure(f"{figures}_breakdown", is_titled=False), details(message("page.phases"), *shown)]
        contents = [*shown, details(message("page.in_words"), Lines(lines, "verdicts"))]
    else:
        contents = [small(message("page.no_profile")), *(Paragraph([note]) for note in notes)]
    return Section(title=message("page.why_steps"), contents=contents)


def _details(group: Group, in_full: bool) -> list[Section | None]:
    memory, accuracy = memory_table(group), accuracy_table(group)
    tables, of_wrapper = (expert_tables(group), wrapper_commands(group)) if in_full else ([], [])
    varying = varying_facts({row: row.facts for row in group.rows})
    shared = {fact: value for row in group.rows for fact, value in row.facts.items() if fact not in varying}
    absent = {name for name, value in group.key.items() if value in (0, "") and value is not False}  # of other models
    settings = [(message(f"fact.{name}"), fact_value(name, value))
                for name, value in {**group.key, **shared}.items()
                if name not in absent and value != "unknown"]  # fmt: skip
    runs = [run for row in group.rows for run in row.runs]
    older = sum(bool(run.times and run.times.steps_left_out) for run in runs)
    loader = small(message("page.loader_anew", runs=older, of=len(runs))) if older else None
    devices = message("page.memory_of_every_device" if group.on_gpu else "page.memory_of_every_process")
    commands = []
    for row in group.rows[:MAX_ROWS]:
        for command, count in Counter(run.record.command for run in row.runs).most_common()[:MAX_COMMANDS]:
            heading = message("page.commands_of", row=row.name, count=count) if count > 1 else row.name
            commands.append(Commands([command], heading, row.method))
    return [
        details(devices, memory) if memory.lines else None,
        details(message("page.accuracy"), accuracy.with_title) if accuracy.lines else None,
        details(message("page.experts"), *(table.with_title for table in tables)) if tables else None,
        details(message("page.wrapper_commands"), small(message("page.wrapper_hint")), Commands(of_wrapper))
        if of_wrapper else None,
        details(message("page.configuration"), loader, Pairs(settings)),
        details(message("page.commands"), *commands),
    ]  # fmt: skip
