"""What step 01 says: the machine, what the lab needs, and what the machine's parts can do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rich.console import Group, RenderableType
from rich.text import Text

from common.console.grids import facts, grid, plain_grid, under_title
from common.content import Line, Table
from common.content.step_01 import all_reduce_table, machine_facts, not_measured, probe_tables, step_01_facts
from common.formats import gib
from common.records import EnvironmentRecord, Probes, Requirement
from common.sentences import Sentences

COLOURS = {"ok": "green", "note": "default", "warning": "yellow", "failure": "red"}
SHOWN_SIZES = 5
"""Of the all-reduce; the page has all of them."""


def machine_table(record: EnvironmentRecord, words: Sentences) -> RenderableType:
    """Software and hardware of the host; what could not be read has no line."""
    return under_title(
        words.translate("host.title"), facts(machine_facts(record.environment) + step_01_facts(record), words)
    )


def gpu_table(record: EnvironmentRecord, words: Sentences) -> RenderableType:
    """What there is of each GPU now, and which pairs reach each other's memory directly."""
    table = plain_grid([words.translate(f"look_column.{name}") for name in ("gpu", "capability", "free")])
    for gpu in record.environment.gpus:
        cells = (gpu.index, gpu.compute_capability, gib(gpu.memory_free_bytes))
        table.add_row(*(Text("n/a" if cell is None else str(cell)) for cell in cells))
    sections = [under_title(words.translate("gpus.title"), table)]
    if len(record.peer_access) > 1:
        names = [words.translate("name.gpu", index=index) for index in range(len(record.peer_access))]
        peers = plain_grid([words.translate("look_column.from_to"), *names])
        for index, row in enumerate(record.peer_access):
            peers.add_row(names[index], *("–" if index == j else words.text(bool(peer)) for j, peer in enumerate(row)))
        sections.append(
            under_title(words.translate("gpus.peers_title"), peers, _note(words.translate("gpus.peers_note")))
        )
    return Group(*sections)


def requirement_table(requirements: Sequence[Requirement], words: Sentences) -> RenderableType:
    """Every requirement with its verdict, then what to do about those that are not met."""
    table = plain_grid(["", *(words.translate(f"look_column.{name}") for name in ("needed", "found"))])
    for requirement in requirements:
        verdict = Text(words.translate(f"outcome.{requirement.outcome}"), style=COLOURS[requirement.outcome])
        table.add_row(verdict, requirement.name, Text(requirement.found))
    sections = [under_title(words.translate("look.needs"), table)]
    to_do = [(one.name, one.advice) for one in requirements if one.outcome != "ok"]
    if to_do:
        sections.append(under_title(words.translate("look.to_do"), facts(to_do, words, style="yellow")))
    return Group(*sections)


def probe_table(measured: Probes, words: Sentences) -> RenderableType:
    """Everything that was measured, what each is good for, then what was not measured and why."""
    tables = probe_tables(measured)
    if measured.all_reduce:
        tables.append(_some_sizes(all_reduce_table(measured.all_reduce)))
    sections = []
    for table in tables:
        notes = [Text(words.text(table.hint), style="yellow")] if table.hint else []
        if table.id != "launches" or not table.hint:  # nothing follows from launches that cannot be
            notes.append(_note(words.translate(f"use.{table.id}", slowdown=_slowdown(measured))))
        sections.append(under_title(words.text(table.heading), grid(table, words), *notes))
    if missing := not_measured(measured):
        sections.append(
            under_title(words.translate("look.not_measured"), *(_note(line) for line in words.lines(missing)))
        )
    return Group(*sections)


def _slowdown(measured: Probes) -> float:
    return measured.together.slowdown if measured.together else 1.0


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
        text = words.translate("look.cannot_run", failures=words.counted(failures, "counted.failure"))
        return Text(f"\n{text}", style="bold red")
    gpus = len(record.environment.gpus)
    cores = words.counted(record.environment.alike_cores, "place.core")
    values = {"devices": words.counted(gpus, "place.gpu") if gpus else cores}
    if warnings:
        text = words.translate(
            "look.can_run_with_warnings", warnings=words.counted(warnings, "counted.warning"), **values
        )
    else:
        text = words.translate("look.can_run", **values)
    lines = [Text(f"\n{text}", style="bold green")]
    if not gpus:
        lines.append(Text(words.translate("look.stand_ins", cores=cores)))
    return Group(*lines)


def _note(text: str) -> Text:
    return Text(text, style="dim")
