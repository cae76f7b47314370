"""The answer at the head of the page: every method of the headline beside one device, and why in one sentence."""

from __future__ import annotations

from dataclasses import dataclass

from common.analysis.comparing.contenders import contenders, turn_takers
from common.analysis.comparing.groups import Group
from common.analysis.comparing.limits import copy_seconds
from common.analysis.comparing.row_name import METHOD_ORDER
from common.analysis.comparing.rows import Row
from common.analysis.findings import Finding, finding
from common.analysis.judging.cells import Cell, Line, Table, columns, estimate_cell, not_available
from common.analysis.judging.comparison_cells import Checks, runs_note, speed_cell, speed_doubts
from common.analysis.judging.headline import short_method
from common.analysis.judging.ledger import Ledger, ledgers
from common.analysis.judging.reasons import MAX_IDLE, what_a_new_thread_lacks
from common.analysis.statistics.medians import is_cost
from common.records import PhaseName

WAITS_WORTH_SAYING = 0.05
WORTH_SAYING = 0.1
"""Share of a step from which new threads, or a phase that grew, is given as the reason."""


@dataclass(frozen=True)
class Answer:
    """What a reader sees first."""

    rows: list[Row]
    """One device, then one row of each method."""
    table: Table
    why: list[Finding]
    """Parts of one sentence; empty without steps that were taken apart. A step is as long in it as the measured ones,
    in which the ledger finds the same prices."""

    @property
    def has_doubts(self) -> bool:
        """Whether a mark in the table wants an explanation."""
        return any(cell.warnings for line in self.table.lines for cell in line.cells)


def answer_of(group: Group, checks: Checks) -> Answer | None:
    """The methods of the headline's group; None where every speed is withheld."""
    rows = contenders(group.rows)
    takers = turn_takers(group.rows)
    if takers and not any(row.speed_up for row in rows):
        rows = [*(row for row in rows if row.method == "single"), *takers]
    rows = sorted((row for row in rows if row in checks), key=lambda row: METHOD_ORDER[row.method])
    return Answer(rows, _table(rows, checks), _why(rows, ledgers(group))) if rows else None


def _table(rows: list[Row], checks: Checks) -> Table:
    on_gpu, has_energy = rows[0].on_gpu, any(row.energy for row in rows)
    shown = columns(
        ("method", "method"),
        ("answer_speed", "speed-up"),
        ("answer_gpu_memory" if on_gpu else "answer_process_memory", "memory"),
        *([("answer_energy", "energy")] if has_energy else []),
    )
    one = next((row for row in rows if row.method == "single" and len(rows) > 1), None)
    lines = []
    for row in rows:
        cells = [name_cell(row), _speed(row, one, checks), _memory(row, one)]
        lines.append(Line([*cells, _energy(row, one)] if has_energy else cells, row.method, row.name))
    return Table("answer", shown, lines)


def name_cell(row: Row) -> Cell:
    """A row's name, its runs, and what keeps it from being scaling."""
    flags = [flag for flag in ("emulated", "shared", "oversubscribed") if getattr(row.record.world, flag)]
    return Cell(row.name, notes=(runs_note(row), *(finding(f"flag.{flag}") for flag in flags)))


def _speed(row: Row, one: Row | None, checks: Checks) -> Cell:
    doubts = speed_doubts(checks[row])
    if row is one:
        return Cell(1.0, "×", notes=(finding("note.speed", speed=row.throughput),), warnings=doubts)
    if row.speed_up is None:
        return speed_cell(row, doubts)
    return estimate_cell(row.speed_up, "×", finding("note.speed", speed=row.throughput), warnings=doubts)


def _memory(row: Row, one: Row | None) -> Cell:
    """On GPUs the fullest device, and what the others hold; on cores all processes."""
    peaks = [peak.peak_bytes for peak in row.memory]
    if not peaks:
        return not_available(finding("note.not_measured"))
    if not row.on_gpu:
        return _process_memory(sum(peaks), one)
    most = max(peaks)
    if one is None or not one.memory:
        return Cell(most, "GiB")
    differ = most > 1.01 * min(peaks)
    size = finding("note.sizes", range=(min(peaks), most)) if differ else finding("note.size", bytes=most)
    return Cell(most / max(peak.peak_bytes for peak in one.memory), "times", notes=(size,))


def _process_memory(total: int, one: Row | None) -> Cell:
    """All processes together: an emulated DataParallel has its replicas in one."""
    if one is None or not one.memory:
        return Cell(total, "GiB")
    return Cell(
        total / sum(peak.peak_bytes for peak in one.memory), "times", notes=(finding("note.size", bytes=total),)
    )


def _energy(row: Row, one: Row | None) -> Cell:
    if row.energy is None:
        return not_available(finding("note.not_counted"))
    joules = row.energy.joules_per_thousand_samples / 1000
    if one is None or not one.energy:
        return Cell(joules, "J")
    ratio = 1000 * joules / one.energy.joules_per_thousand_samples
    return Cell(ratio, "times", notes=(finding("note.joules", joules=joules),))


def _why(rows: list[Row], books: list[Ledger]) -> list[Finding]:
    by_method = {row.method: row for row in rows if row.anatomy}
    dp, ddp, one = (by_method.get(method) for method in ("dp", "ddp", "single"))
    found = [_slowed(books)]
    found += [_why_dp(dp, one or ddp, books)] if dp else []
    if ddp and ddp.anatomy.exposed:
        found.append(_why_ddp(ddp, books))
    return [part for part in found if part]


def _why_ddp(ddp: Row, books: list[Ledger]) -> Finding:
    """What the exchange adds, as the ledger has it, where there is one."""
    exposed = ddp.anatomy.exposed
    item = next((item for book in books if book.row is ddp for item in book.items if item.id == "exchange"), None)
    if any(book.row is ddp for book in books):
        adds = item.seconds if item and item.interval and item.interval[0] > 0 else None
    else:
        adds = exposed.value if exposed.is_above_zero else None
    values = {"method": short_method(ddp), "step": ddp.step.value, "waits": _waits(ddp, books)}
    return finding("why.no_exchange", **values) if adds is None else finding("why.exchange", exposed=adds, **values)


def _waits(row: Row, books: list[Ledger]) -> Finding:
    """What waits and rare long steps add to an average step, where that is much."""
    cost = _certain("waits", row, books, WAITS_WORTH_SAYING)
    return finding("why.waits", cost=cost) if cost else finding("nothing")


def _slowed(books: list[Ledger]) -> Finding | None:
    """What it costs CPU cores to work at the same time, where that is much; the same for both methods."""
    book = books[-1] if books else None
    cost = book and _certain("slowed", book.row, books)
    return finding("why.slowed", cost=cost, step=book.measured.value, method=short_method(book.row)) if cost else None


def _launches(dp: Row, books: list[Ledger]) -> Finding:
    """What it costs that one process launches the work of all devices, where that is much."""
    cost = _certain("launches", dp, books)
    return finding("why.launches", cost=cost) if cost else finding("nothing")


def _certain(id: str, row: Row, books: list[Ledger], least: float = WORTH_SAYING) -> float | None:
    """Seconds of an item in the row's ledger that is above zero for certain, and at least such a share of a step."""
    for item in (item for book in books if book.row is row for item in book.items):
        if item.id == id and item.interval and item.interval[0] > 0 and item.seconds > least * row.step.value:
            return item.seconds
    return None


def _why_dp(dp: Row, other: Row | None, books: list[Ledger]) -> Finding | None:
    """New threads where they were measured to cost much, else the phase that grew most."""
    step, cost = dp.anatomy.slowest.step.value, dp.anatomy.new_threads_cost
    if is_cost(cost):
        whole = dp.anatomy.kinds_of_step["new_threads_seconds"].value
        if cost.value > WORTH_SAYING * whole:
            replicas, over_link, idle = dp.anatomy.new_replicas_cost, copy_seconds(dp), dp.anatomy.idle_share
            return finding(
                "why.threads" if idle is None or idle > MAX_IDLE else "why.hidden_threads",
                method=short_method(dp),
                cost=cost,
                step=dp.step.value,
                replicas=finding("why.replicas", cost=replicas) if is_cost(replicas) else finding("nothing"),
                bytes=finding("why.bytes", seconds=over_link) if over_link else finding("nothing"),
                launches=_launches(dp, books),
                waits=_waits(dp, books),
                because=finding("why.plans") if what_a_new_thread_lacks(dp).id != "nothing" else finding("nothing"),
                idle=idle or 0.0,
            )
    if other is None:
        return None
    more, less = dp.anatomy.slowest.phases, other.anatomy.slowest.phases
    grown: dict[PhaseName, float] = {
        name: phase.value - (less[name].value if name in less else 0.0)
        for name, phase in more.items()
        if (phase.is_apart_from(less[name]) if name in less else phase.is_above_zero)
    }
    name = max(grown, key=grown.get, default=None)
    if name is None or grown[name] < WORTH_SAYING * step:
        return None
    values = {"method": short_method(dp), "phase": name, "seconds": more[name].value}
    if name not in less:
        return finding("why.new_phase", **values)
    return finding("why.phase", other=other.name, less=less[name].value, **values)
