"""How step 01 shows what it found."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from common.formats import counted, gib
from common.records import EnvironmentRecord

COLOURS = {"ok": "green", "note": "default", "warning": "yellow", "failure": "red"}


def machine_table(record: EnvironmentRecord) -> RenderableType:
    """Software and hardware of the host; what could not be read has no line."""
    here = record.environment
    rows = {
        "system": here.platform,
        "Python": here.python + (", without an interpreter lock" if here.interpreter_lock is False else ""),
        "torch": f"{here.torch}, built {f'for CUDA {here.cuda}' if here.cuda else 'without CUDA'}",
        "torchvision": here.torchvision,
        "GPU driver": here.driver,
        "cuDNN": here.cudnn,
        "NCCL": here.nccl,
        "backends": ", ".join(record.backends) or "none",
        "CPU": f"{here.cpu_model}, {counted(here.cpu_cores, 'core')} for this process",
        "RAM": here.ram_bytes and gib(here.ram_bytes),
        "/dev/shm": record.shared_memory_bytes and gib(record.shared_memory_bytes),
        "GPUs": None if here.gpus else "none that torch can use",
    }
    table = Table.grid(padding=(0, 2))
    for name, found in rows.items():
        if found:
            table.add_row(Text(name, style="dim"), Text(str(found)))
    return section("This machine", table)


def gpu_table(record: EnvironmentRecord) -> RenderableType:
    """One line per GPU, and which pairs reach each other's memory directly."""
    table = plain_table("GPU", "name", "capability", "memory", "free", "PCIe", "NVLinks")
    for gpu in record.environment.gpus:
        pcie = f"gen {gpu.pcie_generation} ×{gpu.pcie_width}" if gpu.pcie_generation and gpu.pcie_width else None
        memory = (gib(gpu.memory_total_bytes), gib(gpu.memory_free_bytes))
        cells = (gpu.index, gpu.name, gpu.compute_capability, *memory, pcie, gpu.nvlink_links)
        table.add_row(*(Text("n/a" if cell is None else str(cell)) for cell in cells))
    sections = [section("GPUs", table)]
    if len(record.peer_access) > 1:
        peers = plain_table("from \\ to", *(f"GPU {index}" for index in range(len(record.peer_access))))
        for index, row in enumerate(record.peer_access):
            peers.add_row(
                f"GPU {index}", *("–" if index == j else "yes" if peer else "no" for j, peer in enumerate(row))
            )
        note = Text("no: a copy between the two goes through the host's memory, which is slower.", style="dim")
        sections.append(section("Peer access: may one GPU read another's memory directly?", peers, note))
    return Group(*sections)


def requirement_table(record: EnvironmentRecord) -> RenderableType:
    """Every requirement with its verdict, then what to do about those that are not met."""
    table = plain_table("", "needed", "found here")
    advice = Table.grid(padding=(0, 2))
    for requirement in record.requirements:
        verdict = Text(requirement.outcome, style=COLOURS[requirement.outcome])
        table.add_row(verdict, requirement.name, Text(requirement.found))
        if requirement.outcome != "ok":
            advice.add_row(Text(requirement.name, style=COLOURS[requirement.outcome]), Text(requirement.advice))
    sections = [section("What the lab needs", table)]
    if advice.rows:
        sections.append(section("What to do", advice))
    return Group(*sections)


def conclusion(record: EnvironmentRecord) -> RenderableType:
    """Will the lab run, on which devices, and what does it teach there."""
    outcomes = [requirement.outcome for requirement in record.requirements]
    failures, warnings = outcomes.count("failure"), outcomes.count("warning")
    if failures:
        return Text(f"\nThe lab cannot run here yet: {counted(failures, 'failure')} to fix first.", style="bold red")
    gpus, cores = len(record.environment.gpus), record.environment.cpu_cores
    devices = counted(gpus, "GPU") if gpus else counted(cores, "CPU core")
    reserve = f", with {counted(warnings, 'warning')}" if warnings else ""
    lines = [Text(f"\nThe lab can run here, on {devices}{reserve}.", style="bold green")]
    if not gpus:
        lines.append(Text(_stand_ins(cores)))
    return Group(*lines)


def _stand_ins(cores: int) -> str:
    return (
        f"There is no GPU to use, so {counted(cores, 'CPU core')} will stand in as devices, one thread each. "
        "You learn how both methods work, step by step: who copies what, who waits for whom, and that the parallel "
        "gradient equals one device's. You do not learn how fast GPUs are: cores share their memory, DataParallel is "
        "emulated with threads, and gradients travel by gloo instead of NCCL."
    )


def plain_table(*columns: str) -> Table:
    """An empty table without lines."""
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="dim", pad_edge=False)
    for column in columns:
        table.add_column(column)
    return table


def section(title: str, *contents: RenderableType) -> RenderableType:
    """`contents` under a title."""
    return Group(
        Text(f"\n{title}", style="bold"), *(Padding(content, (0, 0, 0, 2), expand=False) for content in contents)
    )
