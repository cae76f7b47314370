"""What step 01 says: the machine, what the lab needs, and what the machine's parts can do."""

from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console
from rich.text import Text

from common.console.screen import INDENT, facts, fitting_table, plain_table, print_part
from common.content import Table, message
from common.formats import gib
from common.records import EnvironmentRecord, Probes, Requirement
from common.sentences import Sentences
from common.step_01 import all_reduce_table, machine_facts, not_measured, probe_tables, step_01_facts

COLOURS = {"ok": "green", "note": "default", "warning": "yellow", "failure": "red"}
"""Of verdicts."""
SHOWN_SIZES = 5
"""Of the all-reduce; the page has all of them."""
STAND_INS = message(
    "There is no GPU to use, so {cores} will stand in as devices, one thread each. You learn how both methods work, "
    "step by step: who copies what, who waits for whom, and that the parallel gradient equals one device's. You do not "
    "learn how fast GPUs are: cores share their memory, DataParallel is emulated with threads, and gradients travel by "
    "gloo instead of NCCL."
)


def show_machine(console: Console, record: EnvironmentRecord, words: Sentences) -> None:
    """Software and hardware of the host; what there is of each GPU now, and which pairs reach each other's memory
    directly. What could not be read has no line."""
    host = facts(machine_facts(record.environment) + step_01_facts(record), words)
    print_part(console, words.translate("This machine"), host)
    gpus, peers = record.environment.gpus, record.peer_access
    if not gpus:
        return
    table = plain_table([words.translate("GPU"), words.translate("capability"), words.translate("free")])
    for gpu in gpus:
        table.add_row(str(gpu.index), gpu.compute_capability or "n/a", gib(gpu.memory_free_bytes))
    print_part(console, words.translate("GPUs"), table)
    if len(peers) > 1:
        names = [words.translate("GPU {index}", index=index) for index in range(len(peers))]
        table = plain_table([words.translate("from \\ to"), *names])
        for index, row in enumerate(peers):
            table.add_row(names[index], *("–" if index == j else words.text(bool(peer)) for j, peer in enumerate(row)))
        slower = words.translate("no: a copy between the two goes through the host's memory, which is slower.")
        title = words.translate("Peer access: may one GPU read another's memory directly?")
        print_part(console, title, table, _note(slower))


def show_requirements(console: Console, requirements: Sequence[Requirement], words: Sentences) -> None:
    """Every requirement with its verdict, then what to do about those that are not met."""
    table = plain_table(["", words.translate("needed"), words.translate("found here")])
    for one in requirements:
        verdict = Text(words.format_field(one.outcome, "of outcome"), style=COLOURS[one.outcome])
        table.add_row(verdict, one.name, Text(one.found))
    print_part(console, words.translate("What the lab needs"), table)
    if to_do := [(one.name, one.advice) for one in requirements if one.outcome != "ok"]:
        print_part(console, words.translate("What to do"), facts(to_do, words, style="yellow"))


def show_probes(console: Console, measured: Probes, words: Sentences) -> None:
    """Everything that was measured, what each is good for, then what was not measured and why."""
    tables = probe_tables(measured)
    if measured.all_reduce:
        tables.append(_some_sizes(all_reduce_table(measured.all_reduce)))
    slowdown = measured.together.slowdown if measured.together else 1.0
    for table in tables:
        notes = [Text(words.text(table.hint), style="yellow")] if table.hint else []
        if table.id != "launches" or not table.hint:  # nothing follows from launches that cannot be
            notes.append(_note(words.text(table.use.with_values(slowdown=slowdown))))
        drawn = fitting_table(console, table, words, indent=INDENT)
        print_part(console, words.text(table.heading), drawn, *notes)
    if missing := not_measured(measured):
        print_part(console, words.translate("Not measured"), *map(_note, words.lines(missing)))


def _some_sizes(table: Table) -> Table:
    """Five sizes that span all of them, and any whose sum was wrong."""
    last = len(table.lines) - 1
    places = {round(place * last / (SHOWN_SIZES - 1)) for place in range(SHOWN_SIZES)}
    lines = [line for place, line in enumerate(table.lines) if place in places or line.cells[1].number is None]
    return replace(table, lines=lines, left_out=len(table.lines) - len(lines))


def show_conclusion(console: Console, record: EnvironmentRecord, words: Sentences) -> None:
    """Will the lab run, on which devices, and what does it teach there."""
    outcomes = [requirement.outcome for requirement in record.requirements]
    failures, warnings = outcomes.count("failure"), outcomes.count("warning")
    if failures:
        text = words.translate(
            "The lab cannot run here yet: {failures} to fix first.",
            failures=words.counted(failures, "{count} failure", "{count} failures"),
        )
        console.print(Text(f"\n{text}", style="bold red"))
        return
    gpus = len(record.environment.gpus)
    cores = words.counted(record.environment.alike_cores, "1 CPU core", "{count} CPU cores")
    devices = words.counted(gpus, "1 GPU", "{count} GPUs") if gpus else cores
    text = words.translate("The lab can run here, on {devices}.", devices=devices)
    if warnings:
        counted = words.counted(warnings, "{count} warning", "{count} warnings")
        text = words.translate(
            "The lab can run here, on {devices}, with {warnings}.", devices=devices, warnings=counted
        )
    console.print(Text(f"\n{text}", style="bold green"))
    if not gpus:
        console.print(Text(words.text(STAND_INS.with_values(cores=cores))))


def _note(text: str) -> Text:
    return Text(text, style="dim")
