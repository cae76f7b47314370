"""How step 01 shows what it measured: for each probe a table, and a line on what it is good for."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from common.console.machine_tables import headers, plain_table, section
from common.formats import FORMS, gib
from common.records import (
    AllReduce,
    AllReduceTime,
    Copy,
    LaunchTimes,
    MatmulRate,
    MemoryRate,
    Probes,
    Together,
)
from common.sentences import Sentences

SHOWN_SIZES = 5


def probe_table(measured: Probes, words: Sentences) -> RenderableType:
    """Everything that was measured, then what was not and why."""
    sections = []
    if measured.matmul:
        sections.append(_matmul(measured.matmul, words))
    if measured.memory:
        sections.append(_memory(measured.memory, words))
    if measured.copies:
        sections.append(_copies(measured.copies, words))
    if measured.all_reduce:
        sections.append(_all_reduce(measured.all_reduce, words))
    if measured.launches:
        sections.append(_launches(measured.launches, words))
    if measured.together:
        sections.append(_together(measured.together, words))
    if missing := list(_missing(measured, words)):
        sections.append(section(words.say("part.missing_title"), *missing))
    return Group(*sections)


def _launches(times: LaunchTimes, words: Sentences) -> RenderableType:
    rows = plain_table(*headers(words, "what", "from", "host_time"))
    for what, who, seconds in (
        ("addition", "one_thread", times.alone_seconds),
        ("", "threads", times.threads_seconds),
        ("", "processes", times.processes_seconds),
        ("convolution", "known", times.convolution_seconds),
        ("", "new", times.first_convolution_seconds),
    ):
        first = words.say(f"part.{what}") if what else ""
        rows.add_row(first, words.say(f"part.{who}", workers=times.workers), FORMS["duration"](seconds))
    if not times.is_plausible:
        doubt = Text(words.say("part.launches_implausible", workers=times.workers), style="yellow")
        return section(words.say("part.launches"), rows, doubt)
    return section(words.say("part.launches"), rows, _use(words.say("part.launches_use")))


def _together(measured: Together, words: Sentences) -> RenderableType:
    rows = plain_table(*headers(words, "pass", "time"))
    rows.add_row(words.say("part.alone"), FORMS["duration"](measured.alone_seconds))
    rows.add_row(words.say("part.at_once", workers=measured.workers), FORMS["duration"](measured.together_seconds))
    use = words.say("part.together_use", slowdown=measured.slowdown)
    return section(words.say("part.together"), rows, _use(use))


def _matmul(rates: list[MatmulRate], words: Sentences) -> RenderableType:
    rows = plain_table(*headers(words, "device", "precision", "rate", "fastest"))
    for rate in rates:
        matrices = words.say("part.matrices", size=rate.size)
        rows.add_row(words.device(rate.device_model), rate.precision, FORMS["FLOP/s"](rate.flops_per_second), matrices)
    return section(words.say("part.matmul"), rows, _use(words.say("part.matmul_use")))


def _memory(rates: list[MemoryRate], words: Sentences) -> RenderableType:
    rows = plain_table(*headers(words, "device", "read_written"))
    for rate in rates:
        rows.add_row(words.device(rate.device_model), FORMS["B/s"](rate.bytes_per_second))
    return section(words.say("part.memory"), rows, _use(words.say("part.memory_use")))


def _copies(copies: list[Copy], words: Sentences) -> RenderableType:
    destinations = sorted({copy.destination for copy in copies})
    names = {index: words.say("gpus.gpu", index=index) for index in destinations}
    found = {(copy.source, copy.destination): copy for copy in copies}
    rows = plain_table(*headers(words, "from_to"), *names.values())
    for source in (None, *destinations):
        cells = (_speed(found.get((source, destination)), words) for destination in destinations)
        rows.add_row(words.say("gpus.host") if source is None else names[source], *cells)
    return section(words.say("part.copies"), rows, _use(words.say("part.copies_use")))


def _speed(copy: Copy | None, words: Sentences) -> Text:
    if copy is None:
        return Text("–")
    rate = copy.bytes_per_second
    return Text(words.say("part.damaged"), style="bold red") if rate is None else Text(FORMS["B/s"](rate))


def _all_reduce(measured: AllReduce, words: Sentences) -> RenderableType:
    rows = plain_table(*headers(words, "message", "time", "algorithm", "bus"))
    for time in _some(measured.times):
        if time.seconds is None:
            rows.add_row(_message_size(time.bytes), Text(words.say("part.wrong_sum"), style="bold red"))
            continue
        bandwidths = (time.algorithm_bandwidth_bytes_per_second, time.bus_bandwidth_bytes_per_second)
        rows.add_row(
            _message_size(time.bytes), FORMS["duration"](time.seconds), *(FORMS["B/s"](value) for value in bandwidths)
        )
    notes = [_use(words.say("part.all_reduce_use"))]
    if len(measured.times) > SHOWN_SIZES:
        notes.insert(0, _use(words.say("part.all_sizes", count=len(measured.times))))
    if measured.left_out_bytes:
        left_out = words.say("list.comma").join(map(_message_size, measured.left_out_bytes))
        notes.append(Text(words.say("part.left_out", sizes=left_out), style="yellow"))
    part = words.say("part.all_reduce")
    title = words.say("part.all_reduce_title", part=part, ranks=measured.ranks, backend=measured.backend)
    return section(title, rows, *notes)


def _some(times: list[AllReduceTime]) -> list[AllReduceTime]:
    """Five sizes that span all of them, and any whose sum was wrong."""
    last = len(times) - 1
    shown = {round(place * last / (SHOWN_SIZES - 1)) for place in range(SHOWN_SIZES)}
    return [time for place, time in enumerate(times) if place in shown or time.seconds is None]


def _message_size(size: int) -> str:
    """Bytes as text, in KiB below one MiB."""
    return gib(size) if size >= 2**20 else f"{size / 2**10:.0f} KiB"


def _missing(measured: Probes, words: Sentences) -> Iterator[Text]:
    for name, reason in measured.failed.items():
        yield Text(words.say("part.missing", part=words.say(f"part.{name}"), reason=reason), style="yellow")
    for name in measured.not_applicable:
        reason = words.say(f"not_applicable.{name}")
        yield Text(words.say("part.needless", part=words.say(f"part.{name}"), reason=reason), style="dim")


def _use(text: str) -> Text:
    return Text(text, style="dim")
