"""The machines that the records come from, as pairs of a fact and its value."""

from __future__ import annotations

from collections.abc import Iterable

from common.analysis.reading.folder import Folder
from common.content.messages import message
from common.content.step_01 import Facts as Pairs
from common.content.step_01 import machine_facts
from common.records import Environment, machine_of

MAX_MACHINES = 8


def machines(folder: Folder) -> list[Pairs]:
    """Each different machine or installation among the runs, newest first."""
    seen: dict[str, tuple[Environment, dict[str, None]]] = {}
    for run in reversed(folder.runs):
        record = run.record
        used = {device.host: None for device in record.devices if record.world.nodes > 1}
        constant = record.environment.model_copy(
            update={
                "load_average_1min": None,
                "gpus": _constant(record.environment),
                "hostname": "",  # a container has a new one each time
                "machine": machine_of(record.environment),
            }
        )
        seen.setdefault(constant.model_dump_json(), (record.environment, {}))[1].update(used)
    if not seen and folder.environment:
        return [machine_facts(folder.environment.environment)]
    return [_with_others(environment, used) for environment, used in list(seen.values())[:MAX_MACHINES]]


def _constant(environment: Environment) -> list:
    """GPUs without what changes from run to run."""
    return [gpu.model_copy(update={"memory_free_bytes": None}) for gpu in environment.gpus]


def _with_others(environment: Environment, used: Iterable[str]) -> Pairs:
    """Runs across nodes describe the machine of rank 0; of the others the records know the names."""
    others = [host for host in used if host != environment.hostname]
    names = [(message("machine.other_hosts"), message("machine_value.other_hosts", hosts=others))] if others else []
    return machine_facts(environment) + names
