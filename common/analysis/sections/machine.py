"""The machines that the records come from, and what step 01 has measured of their parts."""

from __future__ import annotations

from common.analysis.reading.folder import Folder
from common.content import Figure, Pairs, Requirements, Section, fold, hint, lead, message, sheet
from common.records import Environment, EnvironmentRecord, machine_of
from common.step_01 import (
    Facts,
    machine_facts,
    not_measured,
    probe_tables,
    step_01_facts,
)

MAX_MACHINES = 8


def machine_section(folder: Folder) -> Section:
    """Each machine, and what step 01 found."""
    contents: list = [fold(message("page.machine_facts"), *map(Pairs, machines(folder)))]
    if folder.environment:
        step_01 = (Pairs(step_01_facts(folder.environment)), Requirements(folder.environment))
        contents.append(fold(message("page.step_01"), *step_01))
    else:
        contents.append(hint(message("page.no_step_01")))
    return Section("machine", message("page.machine"), contents)


def parts_section(record: EnvironmentRecord) -> Section:
    """All that one record's probes have to show."""
    probes = record.probes
    figure, tables = Figure("machine_all_reduce"), map(sheet, probe_tables(probes))
    contents: list = [
        lead(message("page.parts_lead", host=record.environment.hostname)),
        fold(message("page.parts_tables"), Section(style="balanced", contents=[figure, *tables])),
    ]
    if missing := not_measured(probes):
        contents.append(hint(message("page.not_measured", parts=missing)))
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
