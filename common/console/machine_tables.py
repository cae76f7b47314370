"""What step 01 says: the machine, what the lab needs, and what the machine's parts can do."""

from collections.abc import Sequence
from dataclasses import replace

from rich.console import Group, RenderableType
from rich.text import Text

from common.console.screen import FittingTable, facts, plain_table, under_title
from common.content import Line, Table, message
from common.formats import gib
from common.records import EnvironmentRecord, Probes, Requirement
from common.sentences import Sentences
from common.step_01 import all_reduce_table, machine_facts, not_measured, probe_tables, step_01_facts

VERDICTS = {
    "ok": (message("ok"), "green"),
    "note": (message("note"), "default"),
    "warning": (message("warning"), "yellow"),
    "failure": (message("failure"), "red"),
}
"""Words and colours."""
SHOWN_SIZES = 5
"""Of the all-reduce; the page has all of them."""
USES = {
    "one_device": message(
        "matrix products: the most arithmetic that training can get out of a device; memory: the limit of layers that "
        "compute little: normalisation, ReLU, the optimizer"
    ),
    "copies": message(
        "the batch comes from the host (pinned memory); DataParallel copies weights and gradients between GPUs"
    ),
    "all_reduce": message(
        "step 04 exchanges gradients like this (resnet50: 97 MiB a step). Small messages cost the latency of an "
        "exchange, large ones show its bandwidth. Bus bandwidth counts what each device must send: it compares with "
        "the speed of a link, however many devices there are"
    ),
    "launches": message(
        "why threads (DataParallel starts new ones in every step) can cost more than the copying that they avoid"
    ),
    "together": message("running together, each is {slowdown:.2f} × slower, before they exchange anything"),
}
"""What each table of measurements is good for."""
STAND_INS = message(
    "There is no GPU to use, so {cores} will stand in as devices, one thread each. You learn how both methods work, "
    "step by step: who copies what, who waits for whom, and that the parallel gradient equals one device's. You do not "
    "learn how fast GPUs are: cores share their memory, DataParallel is emulated with threads, and gradients travel by "
    "gloo instead of NCCL."
)


def machine_table(record: EnvironmentRecord, words: Sentences) -> RenderableType:
    """Software and hardware of the host; what could not be read has no line."""
    return under_title(
        words.translate("This machine"), facts(machine_facts(record.environment) + step_01_facts(record), words)
    )


def gpu_table(record: EnvironmentRecord, words: Sentences) -> RenderableType:
    """What there is of each GPU now, and which pairs reach each other's memory directly."""
    table = plain_table([words.translate("GPU"), words.translate("capability"), words.translate("free")])
    for gpu in record.environment.gpus:
        cells = (gpu.index, gpu.compute_capability, gib(gpu.memory_free_bytes))
        table.add_row(*(Text("n/a" if cell is None else str(cell)) for cell in cells))
    sections = [under_title(words.translate("GPUs"), table)]
    if len(record.peer_access) > 1:
        names = [words.translate("GPU {index}", index=index) for index in range(len(record.peer_access))]
        peers = plain_table([words.translate("from \\ to"), *names])
        for index, row in enumerate(record.peer_access):
            peers.add_row(names[index], *("–" if index == j else words.text(bool(peer)) for j, peer in enumerate(row)))
        sections.append(
            under_title(
                words.translate("Peer access: may one GPU read another's memory directly?"),
                peers,
                _note(words.translate("no: a copy between the two goes through the host's memory, which is slower.")),
            )
        )
    return Group(*sections)


def requirement_table(requirements: Sequence[Requirement], words: Sentences) -> RenderableType:
    """Every requirement with its verdict, then what to do about those that are not met."""
    table = plain_table(["", words.translate("needed"), words.translate("found here")])
    for requirement in requirements:
        verdict, colour = VERDICTS[requirement.outcome]
        table.add_row(Text(words.text(verdict), style=colour), requirement.name, Text(requirement.found))
    sections = [under_title(words.translate("What the lab needs"), table)]
    to_do = [(one.name, one.advice) for one in requirements if one.outcome != "ok"]
    if to_do:
        sections.append(under_title(words.translate("What to do"), facts(to_do, words, style="yellow")))
    return Group(*sections)


def probe_table(measured: Probes, words: Sentences) -> RenderableType:
    """Everything that was measured, what each is good for, then what was not measured and why."""
    tables = probe_tables(measured)
    if measured.all_reduce:
        tables.append(_some_sizes(all_reduce_table(measured.all_reduce)))
    slowdown = measured.together.slowdown if measured.together else 1.0
    sections = []
    for table in tables:
        notes = [Text(words.text(table.hint), style="yellow")] if table.hint else []
        if table.id != "launches" or not table.hint:  # nothing follows from launches that cannot be
            notes.append(_note(words.text(USES[table.id].with_values(slowdown=slowdown))))
        sections.append(under_title(words.text(table.heading), FittingTable(table, words), *notes))
    if missing := not_measured(measured):
        sections.append(under_title(words.translate("Not measured"), *(_note(line) for line in words.lines(missing))))
    return Group(*sections)


def _some_sizes(table: Table) -> Table:
    """Five sizes that span all of them, and any whose sum was wrong."""
    last = len(table.lines) - 1
    places = {round(place * last / (SHOWN_SIZES - 1)) for place in range(SHOWN_SIZES)}
    lines: list[Line] = [
        line for place, line in enumerate(table.lines) if place in places or line.cells[1].number is None
    ]
    return replace(table, lines=lines, left_out=len(table.lines) - len(lines))


def conclusion(record: EnvironmentRecord, words: Sentences) -> RenderableType:
    """Will the lab run, on which devices, and what does it teach there."""
    outcomes = [requirement.outcome for requirement in record.requirements]
    failures, warnings = outcomes.count("failure"), outcomes.count("warning")
    if failures:
        text = words.translate(
            "The lab cannot run here yet: {failures} to fix first.",
            failures=words.counted(failures, "{count} failure", "{count} failures"),
        )
        return Text(f"\n{text}", style="bold red")
    gpus = len(record.environment.gpus)
    cores = words.counted(record.environment.alike_cores, "1 CPU core", "{count} CPU cores")
    devices = words.counted(gpus, "1 GPU", "{count} GPUs") if gpus else cores
    can_run = message("The lab can run here, on {devices}.", devices=devices)
    if warnings:
        counted = words.counted(warnings, "{count} warning", "{count} warnings")
        can_run = message("The lab can run here, on {devices}, with {warnings}.", devices=devices, warnings=counted)
    lines = [Text(f"\n{words.text(can_run)}", style="bold green")]
    if not gpus:
        lines.append(Text(words.text(STAND_INS.with_values(cores=cores))))
    return Group(*lines)


def _note(text: str) -> Text:
    return Text(text, style="dim")
