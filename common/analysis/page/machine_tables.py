"""The machines that the records come from, as rows of a table."""

from __future__ import annotations

from collections.abc import Iterable

from common.analysis.comparing.facts import shorten
from common.analysis.reading.folder import Folder
from common.formats import gib
from common.records import Environment, EnvironmentRecord

MOST_MACHINES = 8


def machines(folder: Folder) -> list[list[tuple[str, str]]]:
    """Each different machine or installation among the runs, newest first, as (name, value) rows."""
    hosts: dict[tuple, dict[str, None]] = {}
    for run in reversed(folder.runs):
        used = {device.host: None for device in run.record.devices if run.record.world.nodes > 1}
        hosts.setdefault(tuple(describe(run.record.environment)), {}).update(used)
    if not hosts and folder.environment:
        return [describe(folder.environment.environment)]
    return [_with_others(list(rows), used) for rows, used in list(hosts.items())[:MOST_MACHINES]]


def _with_others(rows: list[tuple[str, str]], used: Iterable[str]) -> list[tuple[str, str]]:
    """Runs across nodes describe the machine of rank 0; of the others the records know the names."""
    others = [host for host in used if ("host", host) not in rows]
    return [*rows, ("other nodes' hosts", shorten(others, most=16))] if others else rows


def describe(environment: Environment) -> list[tuple[str, str]]:
    """One machine, without what changes from run to run (load, free memory)."""
    rows = [
        ("host", environment.hostname),
        ("platform", environment.platform),
        ("CPU", f"{environment.cpu_model}, {environment.cpu_cores} cores"),
        ("RAM", gib(environment.ram_bytes)),
        ("Python", environment.python),
        ("torch", environment.torch),
        ("torchvision", environment.torchvision or "n/a"),
    ]
    optional = [("CUDA", environment.cuda), ("driver", environment.driver), ("cuDNN", environment.cudnn),
                ("NCCL", environment.nccl)]  # fmt: skip
    rows += [(name, value) for name, value in optional if value]
    for gpu in environment.gpus:
        parts = [gpu.name, gib(gpu.memory_total_bytes)]
        if gpu.pcie_generation and gpu.pcie_width:
            parts.append(f"PCIe {gpu.pcie_generation} × {gpu.pcie_width}")
        if gpu.nvlink_links:
            parts.append(f"{gpu.nvlink_links} NVLink links")
        rows.append((f"GPU {gpu.index}", ", ".join(parts)))
    return rows if environment.gpus else [*rows, ("GPU", "none")]


def step_01_facts(record: EnvironmentRecord) -> list[tuple[str, str]]:
    """What only step 01 looks at, as (name, value) rows."""
    peers = [able for line, row in enumerate(record.peer_access) for column, able in enumerate(row) if line != column]
    known = [
        ("backends", ", ".join(record.backends)),
        ("shared memory", gib(record.shared_memory_bytes) if record.shared_memory_bytes is not None else ""),
        ("open files", f"{record.open_files_limit:,} at most" if record.open_files_limit is not None else ""),
        ("port 29500", {True: "free", False: "taken", None: ""}[record.rendezvous_port_free]),
        ("peer access", f"{sum(peers)} of {len(peers)} pairs of GPUs" if peers else ""),
    ]
    return [(name, value) for name, value in known if value]
