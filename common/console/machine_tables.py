"""How step 01 shows what it found."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from common.formats import gib
from common.records import EnvironmentRecord, Requirement
from common.sentences import Sentences

COLOURS = {"ok": "green", "note": "default", "warning": "yellow", "failure": "red"}


def machine_table(record: EnvironmentRecord, words: Sentences) -> RenderableType:
    """Software and hardware of the host; what could not be read has no line."""
    here = record.environment
    python = "host.python_without_lock" if here.interpreter_lock is False else "host.python"
    torch = "host.torch_cuda" if here.cuda else "host.torch_cpu"
    rows = {
        "system": here.platform,
        "python": words.say(python, version=here.python),
        "torch": words.say(torch, version=here.torch, cuda=here.cuda),
        "torchvision": here.torchvision,
        "driver": here.driver,
        "cudnn": here.cudnn,
        "nccl": here.nccl,
        "backends": words.say("list.comma").join(record.backends) or words.say("host.no_backends"),
        "cpu": words.say("host.cpu", model=here.cpu_model, cores=words.counted(here.cpu_cores, "counted.core")),
        "ram": here.ram_bytes and gib(here.ram_bytes),
        "shared_memory": record.shared_memory_bytes and gib(record.shared_memory_bytes),
        "gpus": None if here.gpus else words.say("host.no_gpus"),
    }
    table = Table.grid(padding=(0, 2))
    for name, found in rows.items():
        if found:
            table.add_row(Text(words.say(f"host_row.{name}"), style="dim"), Text(str(found)))
    return section(words.say("host.title"), table)


def gpu_table(record: EnvironmentRecord, words: Sentences) -> RenderableType:
    """One line per GPU, and which pairs reach each other's memory directly."""
    table = plain_table(*headers(words, "gpu", "name", "capability", "memory", "free", "pcie", "nvlinks"))
    for gpu in record.environment.gpus:
        is_known = gpu.pcie_generation and gpu.pcie_width
        pcie = words.say("gpus.pcie", generation=gpu.pcie_generation, width=gpu.pcie_width) if is_known else None
        memory = (gib(gpu.memory_total_bytes), gib(gpu.memory_free_bytes))
        cells = (gpu.index, gpu.name, gpu.compute_capability, *memory, pcie, gpu.nvlink_links)
        table.add_row(*(Text("n/a" if cell is None else str(cell)) for cell in cells))
    sections = [section(words.say("gpus.title"), table)]
    if len(record.peer_access) > 1:
        names = [words.say("gpus.gpu", index=index) for index in range(len(record.peer_access))]
        peers = plain_table(*headers(words, "from_to"), *names)
        for index, row in enumerate(record.peer_access):
            peers.add_row(names[index], *("–" if index == j else words.text(bool(peer)) for j, peer in enumerate(row)))
        note = Text(words.say("gpus.peers_note"), style="dim")
        sections.append(section(words.say("gpus.peers_title"), peers, note))
    return Group(*sections)


def requirement_table(requirements: Sequence[Requirement], words: Sentences) -> RenderableType:
    """Every requirement with its verdict, then what to do about those that are not met."""
    table = plain_table("", *headers(words, "needed", "found"))
    advice = Table.grid(padding=(0, 2))
    for requirement in requirements:
        verdict = Text(words.say(f"outcome.{requirement.outcome}"), style=COLOURS[requirement.outcome])
        table.add_row(verdict, requirement.name, Text(requirement.found))
        if requirement.outcome != "ok":
            advice.add_row(Text(requirement.name, style=COLOURS[requirement.outcome]), Text(requirement.advice))
    sections = [section(words.say("look.needs"), table)]
    if advice.rows:
        sections.append(section(words.say("look.to_do"), advice))
    return Group(*sections)


def conclusion(record: EnvironmentRecord, words: Sentences) -> RenderableType:
    """Will the lab run, on which devices, and what does it teach there."""
    outcomes = [requirement.outcome for requirement in record.requirements]
    failures, warnings = outcomes.count("failure"), outcomes.count("warning")
    if failures:
        text = words.say("look.cannot_run", failures=words.counted(failures, "counted.failure"))
        return Text(f"\n{text}", style="bold red")
    gpus = len(record.environment.gpus)
    cores = words.counted(record.environment.alike_cores, "place.core")
    values = {"devices": words.counted(gpus, "place.gpu") if gpus else cores}
    if warnings:
        text = words.say("look.can_run_with_warnings", warnings=words.counted(warnings, "counted.warning"), **values)
    else:
        text = words.say("look.can_run", **values)
    lines = [Text(f"\n{text}", style="bold green")]
    if not gpus:
        lines.append(Text(words.say("look.stand_ins", cores=cores)))
    return Group(*lines)


def headers(words: Sentences, *columns: str) -> list[str]:
    """What stands above columns."""
    return [words.say(f"look_column.{column}") for column in columns]


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
