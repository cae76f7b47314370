"""What records other than those of runs show: the machines, what step 01 measured of their parts, faults caused."""

from __future__ import annotations

from collections.abc import Sequence

from common.analysis.reading.folder import Folder
from common.content import (
    Cell,
    Commands,
    Figure,
    Line,
    Message,
    Pairs,
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

MAX_MACHINES = 8


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
