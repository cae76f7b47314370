"""The machines that the records come from, as pairs of a fact and its value."""

from __future__ import annotations

from collections.abc import Iterable

from common.analysis.reading.folder import Folder
from common.content.messages import Message, message
from common.records import BY_NAME, Environment, EnvironmentRecord, machine_of

MAX_MACHINES = 8
Pairs = list[tuple[Message, Message]]


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
    return machine_facts(environment) + ([_pair("other_hosts", hosts=others)] if others else [])


def _pair(fact: str, **values) -> tuple[Message, Message]:
    return message(f"machine.{fact}"), Message(f"machine_value.{fact}", values)


def machine_facts(environment: Environment) -> Pairs:
    """One machine, without what changes from run to run (load, free memory)."""
    plain = ("hostname", "platform")
    later = ("python", "torch", "torchvision", "cuda", "driver", "cudnn", "nccl", "variables")
    pairs = [_plain(name, getattr(environment, name)) for name in plain]
    if not (machine := machine_of(environment)).startswith(BY_NAME):
        pairs.insert(1, _pair("machine", hash=machine))
    pairs.append(_pair("cpu", model=environment.cpu_model, cores=environment.cpu_cores))
    if environment.ram_bytes is not None:
        pairs.append(_pair("ram", bytes=environment.ram_bytes))
    pairs += [_plain(name, value) for name in later if (value := getattr(environment, name))]
    if environment.interpreter_lock is not None:
        state = "on" if environment.interpreter_lock else "off"
        pairs.append((message("machine.interpreter_lock"), message(f"machine_value.lock_{state}")))
    for gpu in environment.gpus:
        parts = [message("gpu.name", name=gpu.name)]
        if gpu.memory_total_bytes is not None:
            parts.append(message("gpu.memory", bytes=gpu.memory_total_bytes))
        if gpu.pcie_generation and gpu.pcie_width:
            parts.append(message("gpu.pcie", generation=gpu.pcie_generation, width=gpu.pcie_width))
        if gpu.nvlink_links:
            parts.append(message("gpu.nvlink", links=gpu.nvlink_links))
        pairs.append((message("machine.gpu", index=gpu.index), message("machine_value.gpu", parts=parts)))
    return pairs if environment.gpus else [*pairs, (message("machine.gpus"), message("machine_value.no_gpus"))]


def _plain(fact: str, value: str) -> tuple[Message, Message]:
    return message(f"machine.{fact}"), message("machine_value.plain", value=value)


def step_01_facts(record: EnvironmentRecord) -> Pairs:
    """What only step 01 looks at."""
    peers = [able for line, row in enumerate(record.peer_access) for column, able in enumerate(row) if line != column]
    pairs = [_pair("backends", names=record.backends)] if record.backends else []
    if record.shared_memory_bytes is not None:
        pairs.append(_pair("shared_memory", bytes=record.shared_memory_bytes))
    if record.open_files_limit is not None:
        pairs.append(_pair("open_files", limit=record.open_files_limit))
    if record.rendezvous_port_free is not None:
        state = "free" if record.rendezvous_port_free else "taken"
        pairs.append((message("machine.port"), message(f"machine_value.port_{state}")))
    if peers:
        pairs.append(_pair("peers", able=sum(peers), pairs=len(peers)))
    return pairs
