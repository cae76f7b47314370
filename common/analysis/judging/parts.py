"""What step 01 measured of the machine's parts, as tables."""

from __future__ import annotations

from dataclasses import dataclass

from common.analysis.judging.cells import NOTHING, Cell, Line, Table, columns
from common.content.messages import Message, message
from common.records import AllReduce, Copy, EnvironmentRecord, LaunchTimes, Probes, Together

MAX_GPUS = 16


@dataclass(frozen=True)
class MeasuredParts:
    """The newest probes of step 01."""

    host: str
    tables: list[Table]
    all_reduce: AllReduce | None
    curve: Table | None
    missing: list[Message]
    """What was not measured, and why."""


def measured_parts(record: EnvironmentRecord) -> MeasuredParts:
    """All that one record's probes have to show."""
    probes = record.probes
    found = (_copies(probes.copies), _rates(probes), _launches(probes.launches), _together(probes.together))
    tables = [table for table in found if table.lines]
    missing = [
        message("probe.missing", probe=message(f"probe.{name}"), reason=reason)
        for name, reason in probes.failed.items()
    ]
    missing += [
        message("probe.needless", probe=message(f"probe.{name}"), reason=message(f"not_applicable.{name}"))
        for name in probes.not_applicable
    ]
    curve = _all_reduce(probes.all_reduce) if probes.all_reduce else None
    return MeasuredParts(record.environment.hostname, tables, probes.all_reduce, curve, missing)


def _rates(probes: Probes) -> Table:
    lines = []
    for product in probes.matmul:
        device = message("note.device", model=product.device_model)
        head = Cell(message("name.matmul", precision=product.precision), notes=(device,))
        size = message("note.matrix", size=product.size)
        lines.append(Line([head, Cell(product.flops_per_second, "FLOP/s", notes=(size,))]))
    for copy in probes.memory:
        head = Cell(message("name.memory"), notes=(message("note.device", model=copy.device_model),))
        size = message("note.copy_of", bytes=copy.bytes)
        lines.append(Line([head, Cell(copy.bytes_per_second, "B/s", notes=(size,))]))
    return Table("one_device", columns(("part", "probes"), ("rate", "probes")), lines)


def _launches(times: LaunchTimes | None) -> Table:
    """What the host needs to start small work."""
    found = [] if times is None else [
        ("one_thread", times.alone_seconds), ("threads", times.threads_seconds), ("processes", times.processes_seconds),
        ("convolution", times.convolution_seconds), ("first_convolution", times.first_convolution_seconds),
    ]  # fmt: skip
    lines = [
        Line([Cell(message(f"name.{name}", workers=times.workers)), Cell(seconds, "duration")])
        for name, seconds in found
    ]
    doubt = message("hint.implausible_launches", workers=times.workers) if times and not times.is_plausible else None
    return Table("launches", columns(("part", "probes"), ("time", "probes")), lines, hint=doubt)


def _together(measured: Together | None) -> Table:
    """One device by itself, and beside the others."""
    times = [] if measured is None else [
        ("pass_alone", measured.alone_seconds), ("pass_together", measured.together_seconds),
    ]  # fmt: skip
    lines = [Line([Cell(message(f"name.{name}", workers=measured.workers)), Cell(seconds, "duration")])
             for name, seconds in times]  # fmt: skip
    return Table("together", columns(("part", "probes"), ("time", "probes")), lines)


def _copies(copies: list[Copy]) -> Table:
    """Bandwidth from each source (a line) to each GPU (a column)."""
    found = {(copy.source, copy.destination): copy for copy in copies}
    destinations = sorted({copy.destination for copy in copies})[:MAX_GPUS]
    sources = [None, *destinations] if destinations else []
    lines = []
    for source in sources:
        head = Cell(message("name.host") if source is None else message("name.gpu", index=source))
        lines.append(Line([head, *(_copy(found.get((source, destination))) for destination in destinations)]))
    to = [(f"to_gpu.{destination}", "probes") for destination in destinations]
    return Table("copies", columns(("copy_from", "probes"), *to), lines)


def _copy(copy: Copy | None) -> Cell:
    if copy is None:
        return NOTHING
    if copy.bytes_per_second is None:
        return Cell(message("cell.damaged"), notes=(message("note.arrived_wrong"),))
    return Cell(copy.bytes_per_second, "B/s")


def _all_reduce(curve: AllReduce) -> Table:
    """Time and bandwidth of every message size."""
    lines = []
    for time in curve.times:
        size = Cell(time.bytes, "GiB")
        if time.seconds is None:
            lines.append(Line([size, Cell(message("cell.wrong_sum")), NOTHING, NOTHING]))
            continue
        speeds = (time.algorithm_bandwidth_bytes_per_second, time.bus_bandwidth_bytes_per_second)
        lines.append(Line([size, Cell(time.seconds, "ms"), *(Cell(speed, "B/s") for speed in speeds)]))
    shown = columns(("message", "probes"), ("time", "probes"), ("algorithm_bandwidth", "bus-bandwidth"),
                    ("bus_bandwidth", "bus-bandwidth"))  # fmt: skip
    title = message("table.all_reduce", ranks=curve.ranks, backend=curve.backend)
    hint = message("hint.left_out", sizes=curve.left_out_bytes) if curve.left_out_bytes else None
    return Table("all_reduce", shown, lines, title, hint)
