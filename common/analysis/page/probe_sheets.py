"""Tables of what step 01 measured of the machine's parts."""

from __future__ import annotations

from common.analysis.page.sheets import Sheet
from common.analysis.page.table import Cell
from common.formats import gib, milliseconds, scaled
from common.records import AllReduce, Copy, Probes

NAMES = {"matmul": "matrix products", "memory": "memory", "copies": "copies to the GPUs", "all_reduce": "all-reduce"}
MOST_GPUS = 16


def probe_sheets(probes: Probes) -> list[Sheet]:
    """Rates of the devices and copies between them, each where it was measured."""
    return [sheet for sheet in (_rates(probes), _copies(probes.copies)) if sheet.rows]


def missing_probes(probes: Probes) -> list[str]:
    """What was not measured, and why."""
    reasons = {**probes.failed, **probes.not_applicable}
    return [f"{NAMES[name]}: {reason}" for name, reason in reasons.items()]


def _rates(probes: Probes) -> Sheet:
    lines = []
    for rate in probes.matmul:
        part = Cell(f"Matrix product, {rate.precision}", note=rate.device_model)
        speed = Cell(scaled(rate.flops_per_second, "FLOP/s"), note=f"{rate.size:,} × {rate.size:,}")
        lines.append(("", [part, speed]))
    for rate in probes.memory:
        part = Cell("Memory, read and write", note=rate.device_model)
        lines.append(("", [part, Cell(scaled(rate.bytes_per_second, "B/s"), note=f"copy of {gib(rate.bytes)}")]))
    return Sheet("One device", [("Part", "probes"), ("Rate", "probes")], lines)


def _copies(copies: list[Copy]) -> Sheet:
    """Bandwidth from each source (a row) to each GPU (a column)."""
    found = {(copy.source, copy.destination): copy for copy in copies}
    destinations = sorted({copy.destination for copy in copies})[:MOST_GPUS]
    sources = [None, *destinations] if destinations else []
    lines = []
    for source in sources:
        cells = [_speed(found.get((source, destination))) for destination in destinations]
        lines.append(("", [Cell("host" if source is None else f"GPU {source}"), *cells]))
    columns = [("From", "probes"), *((f"to GPU {destination}", "probes") for destination in destinations)]
    return Sheet("Copies", columns, lines)


def _speed(copy: Copy | None) -> Cell:
    if copy is None:
        return Cell("–")
    speed = copy.bytes_per_second
    return Cell("damaged", note="the data arrived wrong") if speed is None else Cell(scaled(speed, "B/s"))


def all_reduce_sheet(curve: AllReduce) -> Sheet:
    """Time and bandwidth of every message size."""
    lines = []
    for time in curve.times:
        size = Cell(gib(time.bytes) if time.bytes >= 2**20 else f"{time.bytes / 2**10:g} KiB")
        if time.seconds is None:
            lines.append(("", [size, Cell("wrong sum"), Cell("–"), Cell("–")]))
            continue
        speeds = (time.algorithm_bandwidth_bytes_per_second, time.bus_bandwidth_bytes_per_second)
        lines.append(("", [size, Cell(milliseconds(time.seconds)), *(Cell(scaled(speed, "B/s")) for speed in speeds)]))
    columns = [("Message", "probes"), ("Time", "probes"), ("Algorithm bandwidth", "bus-bandwidth"),
               ("Bus bandwidth", "bus-bandwidth")]  # fmt: skip
    left_out = ", ".join(map(gib, curve.left_out_bytes))
    hint = f"Left out, for they would have taken too long: {left_out}." if left_out else ""
    return Sheet(f"All-reduce of {curve.ranks} ranks by {curve.backend}", columns, lines, hint)
