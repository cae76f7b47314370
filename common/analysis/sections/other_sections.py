"""Sections beside the comparison: what differs, what is not compared, the machines, and faults that were caused."""

from collections.abc import Mapping, Sequence

from common.analysis.comparing.facts import grouped, varying_facts
from common.analysis.comparing.groups import Group, readable_facts
from common.analysis.reading.folder import Folder, Skipped
from common.analysis.reading.runs import Run
from common.content import (
    Cell,
    Commands,
    Figure,
    Inline,
    Line,
    Lines,
    Message,
    Pairs,
    Paragraph,
    Requirements,
    Section,
    Table,
    columns,
    fold,
    hint,
    lead,
    message,
    sheet,
)
from common.records import Environment, EnvironmentRecord, FaultRecord, machine_of
from common.step_01 import Facts, machine_facts, not_measured, probe_tables, step_01_facts

MAX_VALUES, MAX_LISTED, MAX_MACHINES = 5, 100, 8


def unequal_terms(group: Group) -> list[Message]:
    """What differs between the rows of a group although they are compared; options of DDP that were tried are not among
    it."""
    return [
        _difference(fact, {value: [row.name for row in rows] for value, rows in by_value.items()})
        for fact, by_value in varying_facts(readable_facts(group.main_rows)).items()
    ]


def why_separate(groups: Mapping[int, Group]) -> list[Message]:
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
    return lines


def _difference(fact: str, who: dict) -> Message:
    """`torch 2.11 (DP × 2) and 2.13 (DDP × 2)`."""
    values = [
        message("difference.value", value=message(f"fact_value.{fact}", value=value), who=names)
        for value, names in who.items()
    ]
    more = len(values) - MAX_VALUES
    id = "difference.and_more" if more > 0 else "difference.all"
    return message(id, fact=fact, values=values[:MAX_VALUES], more=more)


def separate_section(groups: Mapping[int, Group]) -> Section | None:
    """Why some runs are not compared."""
    lines = why_separate(groups)
    brief = [message("console.not_compared", difference=line) for line in lines]
    contents = [lead(message("page.separate_lead")), Lines(lines)]
    return Section("separate", message("page.separate"), contents, brief=brief, colour="default") if lines else None


def unfinished_section(runs: Sequence[Run]) -> Section | None:
    """Runs that did not complete, the newest last, and what to do about each."""
    notes = [_unfinished(run) for run in runs[-MAX_LISTED:]]
    brief = [_in_brief(run) for run in runs]
    return Section("unfinished", message("page.unfinished"), notes, brief=brief, colour="yellow") if runs else None


def _unfinished(run: Run) -> Section:
    record, failure = run.record, run.record.failure
    finished = Paragraph([message("page.epochs_finished", done=len(record.epochs), of=record.config.epochs)])
    contents = [finished]
    if failure:
        what = message("page.failure", kind=failure.kind, rank=failure.rank, message=failure.message)
        to_do = [Inline(message("page.what_to_do")), message("quoted.text", text=failure.advice)]
        contents = [Paragraph([what]), Paragraph(to_do), finished]
    title = message("console.unfinished", file=run.file, status=record.status)
    return Section(title=title, contents=contents, style="note")


def _in_brief(run: Run) -> Message:
    failure, at = run.record.failure, {"file": run.file, "status": run.record.status}
    if failure is None:
        return message("console.unfinished", **at)
    return message("console.failed", kind=failure.kind, rank=failure.rank, message=failure.message,
                   advice=failure.advice, **at)  # fmt: skip


def skipped_section(skipped: Sequence[Skipped], left_out: int = 0) -> Section | None:
    """Files that could not be read, or that a mistake in this program kept out; `left_out` stand nowhere."""
    if not skipped:
        return None
    ours = Inline(message("page.our_fault"), outcome="failed")
    lines = [
        (message("skipped.file", file=item.file), *([ours] if item.is_our_fault else []),
         message("quoted.text", text=item.reason))
        for item in skipped[:MAX_LISTED]
    ]  # fmt: skip
    more = Paragraph([message("page.and_more", count=left_out)]) if left_out else None
    brief = [message("console.our_fault" if item.is_our_fault else "console.skipped", file=item.file,
                     reason=item.reason) for item in sorted(skipped, key=lambda item: item.is_our_fault)]  # fmt: skip
    colour = "bold red" if any(item.is_our_fault for item in skipped) else "yellow"
    return Section("skipped", message("page.skipped"), [Lines(lines), more], brief=brief, colour=colour)


def machine_section(folder: Folder) -> Section:
    """Each machine, and what step 01 found."""
    contents: list = [fold(message("page.machine_facts"), *map(Pairs, machines(folder)))]
    if record := folder.environment:
        contents.append(fold(message("page.step_01"), Pairs(step_01_facts(record)), Requirements(record)))
    else:
        contents.append(hint(message("page.no_step_01")))
    return Section("machine", message("page.machine"), contents)


def parts_section(record: EnvironmentRecord) -> Section:
    """All that one record's probes have to show."""
    missing = not_measured(record.probes)
    shown = [Figure("machine_all_reduce"), *map(sheet, probe_tables(record.probes))]
    contents = [
        lead(message("page.parts_lead", host=record.environment.hostname)),
        fold(message("page.parts_tables"), Section(style="balanced", contents=shown)),
        hint(message("page.not_measured", parts=missing)) if missing else None,
    ]
    return Section("parts", message("page.parts"), contents, style="group")


def machines(folder: Folder) -> list[Facts]:
    """Each different machine or installation among the runs, newest first."""
    seen: dict[str, tuple[Environment, set[str]]] = {}
    for run in reversed(folder.runs):
        record = run.record
        used = {device.host for device in record.devices if record.world.nodes > 1}
        seen.setdefault(_constant(record.environment), (record.environment, set()))[1].update(used)
    if not seen and folder.environment:
        return [machine_facts(folder.environment.environment)]
    return [_with_others(environment, used) for environment, used in list(seen.values())[:MAX_MACHINES]]


def _constant(environment: Environment) -> str:
    """What does not change from run to run: a container has a new name each time."""
    gpus = [gpu.model_copy(update={"memory_free_bytes": None}) for gpu in environment.gpus]
    changes = {"load_average_1min": None, "gpus": gpus, "hostname": "", "machine": machine_of(environment)}
    return environment.model_copy(update=changes).model_dump_json()


def _with_others(environment: Environment, used: set[str]) -> Facts:
    """Runs across nodes describe the machine of rank 0; of the others the records know the names."""
    others = sorted(used - {environment.hostname})
    names = [(message("machine.other_hosts"), message("machine_value.other_hosts", hosts=others))] if others else []
    return machine_facts(environment) + names


def solved_faults(records: Sequence[FaultRecord]) -> Message:
    """How many were named and cured."""
    caused = [record for record in records if not record.missing]
    return message("faults.solved", solved=sum(record.is_solved for record in caused), count=len(caused))


def faults_section(records: Sequence[FaultRecord]) -> Section | None:
    """What named each fault that was caused on purpose, and whether its cure cured it; None where nobody caused any."""
    if not records:
        return None
    caused = [record for record in records if not record.missing]
    needs = [message("faults.left_out", title=_title(record), need=record.missing)
             for record in records if record.missing]  # fmt: skip
    commands = [Commands([command], heading) for record in caused
                for command, heading in ((record.command, _title(record)), (record.cure_command, None))]  # fmt: skip
    contents = [
        lead(solved_faults(caused), message("page.faults_lead")),
        *([_faults_table(caused), fold(message("page.commands"), *commands)] if caused else []),
        hint(*needs) if needs else None,
    ]
    return Section("faults-caused", message("page.faults"), contents, short=message("page.faults_short"))


def _faults_table(caused: Sequence[FaultRecord]) -> Table:
    shown = columns(*(f"fault{part}:faults" for part in ("", "_named", "_cure", "_outcome")))
    lines = [Line([Cell(_title(record)), _named(record), Cell(message(f"fault.{record.fault}.cure")),
                   Cell(_outcome(record))]) for record in caused]  # fmt: skip
    return Table("faults", shown, lines, style="checks faults")


def _title(record: FaultRecord) -> Message:
    return message(f"fault.{record.fault}.title")


def _named(record: FaultRecord) -> Cell:
    if record.named_by is None:
        return Cell(message("faults.not_named"))
    return Cell(record.sentence, notes=(message(f"faults.by_{record.named_by}"),))


def _outcome(record: FaultRecord) -> Message:
    if record.is_solved:
        return message("faults.is_solved", seconds=record.seconds + record.cure_seconds)
    if record.named_by is None:
        return message("faults.is_not_named")
    return message("faults.is_left" if record.cured else "faults.is_not_cured")
