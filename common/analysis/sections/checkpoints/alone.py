"""Checkpoint 2: all three scripts, both meanings of `--batch-size`, weak and strong scaling side by side."""

from __future__ import annotations

from common.analysis.comparing.facts import GROUP_KEY, Scaling
from common.analysis.comparing.groups import Group
from common.analysis.comparing.rows import Row
from common.analysis.judging.cells import ratio_cell
from common.analysis.judging.verdicts import counted_as
from common.analysis.sections.checkpoints.proofs import Checkpoint, Evidence, Proof, Quiz
from common.analysis.sections.comparison import runs_note
from common.content import NOTHING, Cell, Line, Message, Table, columns, message
from common.records import METHODS

Scaled = dict[Scaling, dict[tuple, Row]]


def alone(here: Evidence) -> Checkpoint:
    """Proven by a completed run of each script, and by both kinds of scaling."""
    done = {record.method for record in here.records if record.status == "completed"
            and (record.world.devices > 1 or not METHODS[record.method].is_parallel)}  # fmt: skip
    scaled = _scaled(here)
    proofs = [
        *(Proof(f"{method}_run", method in done, [here.command(method)]) for method in ("single", "dp", "ddp")),
        Proof("weak", bool(scaled["weak"]), [here.command("dp"), here.command("ddp")]),
        Proof("strong", bool(scaled["strong"]), _for_strong(here)),
    ]
    quizzes = [_batches(here), Quiz(message("quiz.scaling"), _scaling(scaled))]
    return Checkpoint("alone", proofs, _given(here), quizzes, _table(scaled))


def _given(here: Evidence) -> list[Message]:
    """What `--batch-size` was in 03 and in 04."""
    rows = [row for row in (here.row("dp"), here.row("ddp")) if row]
    return [
        message(f"own.batch_{row.method}", devices=row.devices, batch=row.record.config.global_batch_size,
                per_device=row.record.config.per_device_batch_size, what=counted_as(row.record))
        for row in rows
    ]  # fmt: skip


def _batches(here: Evidence) -> Quiz:
    devices, share = here.devices, here.model.config.per_device_batch_size
    values = {"devices": devices, "share": share, "batch": share * devices, "what": counted_as(here.model)}
    return Quiz(message("quiz.batches", **values), [message("solution.batches", **values)])


def _for_strong(here: Evidence) -> list[str]:
    """Both methods with the global batch of one device; where that cannot be split, one device with theirs."""
    share, rest = divmod(here.model.config.per_device_batch_size, here.devices)
    if rest:
        return [here.command("single", here.model.config.per_device_batch_size * here.devices)]
    return [here.command("dp", share), here.command("ddp", share)]


def _scaled(here: Evidence) -> Scaled:
    """By scaling: the representative rows on several devices that have a speed-up, of the first group that has such,
    and for strong scaling of the first one beside it."""
    scaled: Scaled = {"weak": {}, "strong": {}}
    key: dict | None = None
    for scaling in scaled:
        for group in here.groups:
            own = {name: group.key[name] for name in GROUP_KEY}
            rows = _with_speed_up(group) if group.scaling == scaling and key in (None, own) else {}
            if rows:
                scaled[scaling], key = rows, own
                break
    return scaled


def _with_speed_up(group: Group) -> dict[tuple, Row]:
    rows = [row for row in group.representatives if row.devices > 1] or group.main_rows
    return {(row.method, row.devices): row for row in rows if row.devices > 1 and row.speed_up}


def _scaling(scaled: Scaled) -> list[Message]:
    both = [(row, scaled["strong"][at]) for at, row in scaled["weak"].items() if at in scaled["strong"]]
    pairs = [message("own.both", row=weak.name, weak=weak.speed_up, strong=strong.speed_up) for weak, strong in both]
    return [*([message("solution.both", pairs=pairs)] if pairs else []), message("solution.scaling")]


def _table(scaled: Scaled) -> Table | None:
    """A line for each method: its speed-up in weak and in strong scaling, each with the runs that it rests on."""
    if not any(scaled.values()):
        return None
    rows = {**scaled["strong"], **scaled["weak"]}
    shown = columns("method", "weak_speed_up:speed-up", "strong_speed_up:speed-up")
    lines = [Line([Cell(row.name), *(_cell(scaled[scaling].get(at)) for scaling in scaled)], row.method, row.name)
             for at, row in sorted(rows.items(), reverse=True)]  # fmt: skip
    return Table("scaling", shown, lines)


def _cell(row: Row | None) -> Cell:
    return ratio_cell(row.speed_up, "×", runs_note(row)) if row else NOTHING
