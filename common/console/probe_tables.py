"""How step 01 shows what it measured: for each probe a table, and a line on what it is good for."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from common.console.machine_tables import plain_table, section
from common.formats import FORMS, gib
from common.records import (
    AllReduce,
    AllReduceTime,
    Copy,
    LaunchTimes,
    MatmulRate,
    MemoryRate,
    ProbeName,
    Probes,
    Together,
)

TITLES: dict[ProbeName, str] = {
    "matmul": "Matrix products",
    "memory": "Memory of a device",
    "copies": "Copies to the GPUs",
    "all_reduce": "All-reduce: all devices sum a message",
    "launches": "Launches: what the host needs to start small work on a device",
    "together": "Together: all devices work at once",
}

SHOWN_SIZES = 5


def probe_table(measured: Probes) -> RenderableType:
    """Everything that was measured, then what was not and why."""
    sections = []
    if measured.matmul:
        sections.append(_matmul(measured.matmul))
    if measured.memory:
        sections.append(_memory(measured.memory))
    if measured.copies:
        sections.append(_copies(measured.copies))
    if measured.all_reduce:
        sections.append(_all_reduce(measured.all_reduce))
    if measured.launches:
        sections.append(_launches(measured.launches))
    if measured.together:
        sections.append(_together(measured.together))
    if missing := list(_missing(measured)):
        sections.append(section("Not measured", *missing))
    return Group(*sections)


def _launches(times: LaunchTimes) -> RenderableType:
    rows = plain_table("what", "from", "host time")
    rows.add_row("addition of 8 numbers", "one thread", FORMS["duration"](times.alone_seconds))
    rows.add_row("", f"each of {times.workers} threads at once", FORMS["duration"](times.threads_seconds))
    rows.add_row("", f"each of {times.workers} processes at once", FORMS["duration"](times.processes_seconds))
    rows.add_row("convolution", "a thread that has launched it before", FORMS["duration"](times.convolution_seconds))
    rows.add_row("", "a thread that has just started", FORMS["duration"](times.first_convolution_seconds))
    use = _use(
        "why threads (DataParallel starts new ones each step) can cost more than the bytes that they save to send"
    )
    return section(TITLES["launches"], rows, use)


def _together(measured: Together) -> RenderableType:
    rows = plain_table("a training-like pass", "time")
    rows.add_row("one device by itself", FORMS["duration"](measured.alone_seconds))
    rows.add_row(f"each of {measured.workers} at once", FORMS["duration"](measured.together_seconds))
    use = f"devices take {measured.slowdown:.2f} times as long beside each other, before they exchange anything"
    return section(TITLES["together"], rows, _use(use))


def _matmul(rates: list[MatmulRate]) -> RenderableType:
    rows = plain_table("device", "precision", "rate", "fastest for")
    for rate in rates:
        matrices = f"{rate.size} × {rate.size} matrices"
        rows.add_row(rate.device_model, rate.precision, FORMS["FLOP/s"](rate.flops_per_second), matrices)
    return section(TITLES["matmul"], rows, _use("the most arithmetic that training can get out of a device"))


def _memory(rates: list[MemoryRate]) -> RenderableType:
    rows = plain_table("device", "read + written")
    for rate in rates:
        rows.add_row(rate.device_model, FORMS["B/s"](rate.bytes_per_second))
    return section(
        TITLES["memory"], rows, _use("limits layers that compute little: normalisation, ReLU, the optimizer")
    )


def _copies(copies: list[Copy]) -> RenderableType:
    destinations = sorted({copy.destination for copy in copies})
    sources = [None, *destinations]
    found = {(copy.source, copy.destination): copy for copy in copies}
    rows = plain_table("from \\ to", *(f"GPU {index}" for index in destinations))
    for source in sources:
        cells = (_speed(found.get((source, destination))) for destination in destinations)
        rows.add_row("host" if source is None else f"GPU {source}", *cells)
    use = "the batch comes from the host (pinned memory); DataParallel copies weights and gradients between GPUs"
    return section(TITLES["copies"], rows, _use(use))


def _speed(copy: Copy | None) -> Text:
    if copy is None:
        return Text("–")
    rate = copy.bytes_per_second
    return Text("DAMAGED", style="bold red") if rate is None else Text(FORMS["B/s"](rate))


def _all_reduce(measured: AllReduce) -> RenderableType:
    rows = plain_table("message", "time", "algorithm bandwidth", "bus bandwidth")
    for time in _some(measured.times):
        if time.seconds is None:
            rows.add_row(_message_size(time.bytes), Text("WRONG SUM", style="bold red"))
            continue
        bandwidths = (time.algorithm_bandwidth_bytes_per_second, time.bus_bandwidth_bytes_per_second)
        rows.add_row(
            _message_size(time.bytes), FORMS["duration"](time.seconds), *(FORMS["B/s"](value) for value in bandwidths)
        )
    use = (
        "step 04 exchanges gradients like this (resnet50: 97 MiB a step). Small messages cost the latency of an "
        "exchange, large ones show its bandwidth. Bus bandwidth counts what each device must send: it compares with "
        "the speed of a link, however many devices there are"
    )
    notes = [_use(use)]
    if len(measured.times) > SHOWN_SIZES:
        notes.insert(0, _use(f"all {len(measured.times)} sizes: in the record, and on the page of step 05"))
    if measured.left_out_bytes:
        left_out = ", ".join(map(_message_size, measured.left_out_bytes))
        notes.append(Text(f"left out, for they would take too long: {left_out}", style="yellow"))
    return section(f"{TITLES['all_reduce']} ({measured.ranks} processes, {measured.backend})", rows, *notes)


def _some(times: list[AllReduceTime]) -> list[AllReduceTime]:
    """Five sizes that span all of them, and any whose sum was wrong."""
    last = len(times) - 1
    shown = {round(place * last / (SHOWN_SIZES - 1)) for place in range(SHOWN_SIZES)}
    return [time for place, time in enumerate(times) if place in shown or time.seconds is None]


def _message_size(size: int) -> str:
    """Bytes as text, in KiB below one MiB."""
    return gib(size) if size >= 2**20 else f"{size / 2**10:.0f} KiB"


def _missing(measured: Probes) -> Iterator[Text]:
    for name, reason in measured.failed.items():
        yield Text(f"{TITLES[name]}: {reason}", style="yellow")
    for name, reason in measured.not_applicable.items():
        yield Text(f"{TITLES[name]}: {reason}", style="dim")


def _use(text: str) -> Text:
    return Text(text, style="dim")
