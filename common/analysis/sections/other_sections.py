"""Sections beside the comparison: what differs, what is not compared, faults that were caused, and the machines."""

from collections.abc import Mapping, Sequence

from common.analysis.comparing.facts import fact_value, grouped, varying_facts
from common.analysis.comparing.groups import Group
from common.analysis.comparing.row_names import readable_facts
from common.analysis.reading.folder import Folder, Skipped
from common.analysis.reading.runs import Run
from common.content import (
    Cell,
    Commands,
    Figure,
    Inline,
    Line,
    Lines,
    Pairs,
    Paragraph,
    Section,
    Table,
    columns,
    details,
    opening,
    small,
)
from common.messages import Message, message
from common.records import Environment, EnvironmentRecord, FaultRecord, machine_of
from common.step_01 import Facts, machine_facts, not_measured, probe_tables, step_01_facts

MAX_VALUES, MAX_LISTED, MAX_MACHINES = 5, 100, 8


def unequal_terms(group: Group) -> list[Message]:
    """What differs between the rows of a group although they are compared, but for options of DDP that were tried."""
    return [
        _difference(fact, {value: [row.name for row in rows] for value, rows in by_value.items()})
        for fact, by_value in varying_facts(readable_facts(group.main_rows)).items()
    ]


def _difference(fact: str, who: dict) -> Message:
    """`torch 2.11 (DP × 2) and 2.13 (DDP × 2)`."""
    values = [message("difference.value", value=fact_value(fact, value), who=names) for value, names in who.items()]
    more = len(values) - MAX_VALUES
    id = "difference.and_more" if more > 0 else "difference.all"
    return message(id, fact=fact, values=values[:MAX_VALUES], more=more)


def separate_section(groups: Mapping[int, Group]) -> Section | None:
    """What tells the groups apart, by their numbers, so that no ratio was formed across them."""
    lines = []
    for scaling in ("weak", "strong"):
        numbered = {number: group.key for number, group in groups.items() if group.scaling == scaling}
        of_models = grouped(numbered.values(), lambda key: key["model"]).values()
        for fact, by_value in varying_facts(numbered).items():
            if fact != "model" and all(len({key.get(fact) for key in keys}) == 1 for keys in of_models):
                continue  # other models are trained otherwise: that they are others says it
            who = {value: [message("group.number", number=number) for number in numbers]
                   for value, numbers in by_value.items()}  # fmt: skip
            lines.append(_difference(fact, who))
    brief = [message("console.not_compared", difference=line) for line in lines]
    contents = [opening(message("page.separate_lead")), Lines(lines)]
    return Section("separate", message("page.separate"), contents, brief=brief, colour="default") if lines else None


def unfinished_section(runs: Sequence[Run]) -> Section | None:
    """Runs that did not complete, the newest last, and what to do about each."""
    notes, brief = [], []
    for run in runs:
        record, failure = run.record, run.record.failure
        title = message("console.unfinished", file=run.file, status=record.status)
        finished = Paragraph([message("page.epochs_finished", done=len(record.epochs), of=record.config.epochs)])
        contents, line = [finished], title
        if failure:
            what = {"kind": failure.kind, "rank": failure.rank, "message": failure.message}
            to_do = [Inline(message("page.what_to_do")), message("quoted.text", text=failure.advice)]
            contents = [Paragraph([message("page.failure", **what)]), Paragraph(to_do), finished]
            line = message("console.failed", **title.values, **what, advice=failure.advice)
        notes.append(Section(title=title, contents=contents, style="note"))
        brief.append(line)
    title, shown = message("page.unfinished"), notes[-MAX_LISTED:]
    return Section("unfinished", title, [*shown, _and_more(runs)], brief=brief, colour="yellow") if runs else None


def skipped_section(skipped: Sequence[Skipped]) -> Section | None:
    """Files that could not be read, or that a mistake in this program kept out."""
    if not skipped:
        return None
    ours = Inline(message("page.our_fault"), outcome="failed")
    lines = [
        (message("skipped.file", file=item.file), *([ours] if item.is_our_fault else []),
         message("quoted.text", text=item.reason))
        for item in skipped[:MAX_LISTED]
    ]  # fmt: skip
    brief = [message("console.our_fault" if item.is_our_fault else "console.skipped", file=item.file,
                     reason=item.reason) for item in sorted(skipped, key=lambda item: item.is_our_fault)]  # fmt: skip
    colour = "bold red" if any(item.is_our_fault for item in skipped) else "yellow"
    return Section("skipped", message("page.skipped"), [Lines(lines), _and_more(skipped)], brief=brief, colour=colour)


def _and_more(things: Sequence) -> Paragraph | None:
    more = len(things) - MAX_LISTED
    return Paragraph([message("page.and_more", count=more)]) if more > 0 else None


def solved_faults(records: Sequence[FaultRecord]) -> Message:
    """How many were named and cured."""
    caused = [record for record in records if not record.missing]
    return message("faults.solved", solved=sum(record.is_solved for record in caused), count=len(caused))


def faults_section(records: Sequence[FaultRecord]) -> Section | None:
    """What named each fault that was caused on purpose, and whether its cure cured it; None where nobody caused any."""
    needs, lines, commands = [], [], []
    for record in records:
        title = message(f"fault.{record.fault}.title")
        if record.missing:
            needs.append(message("faults.left_out", title=title, need=record.missing))
            continue
        named = Cell(record.sentence, notes=(message(f"faults.by_{record.named_by}"),))
        outcome = message("faults.is_left" if record.cured else "faults.is_not_cured")
        if record.is_solved:
            outcome = message("faults.is_solved", seconds=record.seconds + record.cure_seconds)
        elif record.named_by is None:
            named, outcome = Cell(message("faults.not_named")), message("faults.is_not_named")
        lines.append(Line([Cell(title), named, Cell(message(f"fault.{record.fault}.cure")), Cell(outcome)]))
        commands += [Commands([record.command], title), Commands([record.cure_command])]
    shown = columns(*(f"fault{part}:faults" for part in ("", "_named", "_cure", "_outcome")))
    contents = [
        opening(solved_faults(records), message("page.faults_lead")),
        Table("faults", shown, lines, style="checks faults") if lines else None,
        Section(title=message("page.commands"), contents=commands, is_folded=True) if commands else None,
        small(*needs) if needs else None,
    ]
    short = message("page.faults_short")
    return Section("faults-caused", message("page.faults"), contents, short=short) if records else None


def machine_section(folder: Folder) -> Section:
    """Each machine, and what step 01 found."""
    contents: list = [details(message("page.machine_facts"), *map(Pairs, machines(folder)))]
    if record := folder.environment:
        contents.append(details(message("page.step_01"), Pairs(step_01_facts(record)), record))
    else:
        contents.append(small(message("page.no_step_01")))
    return Section("machine", message("page.machine"), contents)


def parts_section(record: EnvironmentRecord) -> Section:
    """All that one record's probes have to show."""
    missing = not_measured(record.probes)
    shown = [Figure("machine_all_reduce"), *(table.with_title for table in probe_tables(record.probes))]
    contents = [
        opening(message("page.parts_lead", host=record.environment.hostname)),
        details(message("page.parts_tables"), Section(style="balanced", contents=shown)),
        small(message("page.not_measured", parts=missing)) if missing else None,
    ]
    return Section("parts", message("page.parts"), contents, style="group")


def machines(folder: Folder) -> list[Facts]:
    """Each different machine or installation among the runs, newest first."""
    seen: dict[str, tuple[Environment, set[str]]] = {}
    for run in reversed(folder.runs):
        record, here = run.record, run.record.environment
        # What changes from run to run is left out: a container has a new name each time.
        gpus = [gpu.model_copy(update={"memory_free_bytes": None}) for gpu in here.gpus]
        changes = {"load_average_1min": None, "gpus": gpus, "hostname": "", "machine": machine_of(here)}
        installation = here.model_copy(update=changes).model_dump_json()
        hosts = {device.host for device in record.devices if record.world.nodes > 1}
        seen.setdefault(installation, (here, set()))[1].update(hosts)
    if not seen and folder.environment:
        return [machine_facts(folder.environment.environment)]
    shown = []
    for here, hosts in list(seen.values())[:MAX_MACHINES]:
        # Runs across nodes describe the machine of rank 0; of the others the records know the names.
        others = message("machine_value.other_hosts", hosts=sorted(hosts - {here.hostname}))
        shown.append(machine_facts(here) + ([(message("machine.other_hosts"), others)] if others["hosts"] else []))
    return shown
