"""Links between devices: those that step 05's command line names, what it asks, and how long an all-reduce takes.

A link is given as `25GB/s,10us`, or by a known name. Each model of the all-reduce has `seconds(size, devices)`, of a
message of `size` bytes on each of `devices`, and 0 for one of them; says what it rests on; and knows whether it was
measured for so many devices, or is an extrapolation. Formulas: docs/prediction.md.
"""

import re
from dataclasses import dataclass, replace

from common.analysis.comparing.utilisation import all_reduce_seconds
from common.content import Message, message
from common.errors import UsageError
from common.records import AllReduce

MAX_DEVICES = 1024
BYTES = {"B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30,
         "bit": 1 / 8, "kbit": 1e3 / 8, "Mbit": 1e6 / 8, "Gbit": 1e9 / 8}  # fmt: skip
SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
NUMBER = r"(\d+(?:\.\d+)?(?:e-?\d+)?)\s*"
PATTERN = re.compile(rf"{NUMBER}([A-Za-z]+)/s(?:\s*,\s*{NUMBER}([a-zµ]+))?")


@dataclass(frozen=True)
class Link:
    """What one device (or one node) can send while it receives as much."""

    bytes_per_second: float
    """Each way."""
    latency_seconds: float = 0.0
    """Of one message, software included."""
    name: str = ""


# Each way, for one device or one port; the rates are the makers', a link reaches less. Latencies are assumptions of the
# right order. docs/prediction.md has the sources.
PRESETS: dict[str, Link] = {
    "nvlink3": Link(300e9, 5e-6),
    "nvlink4": Link(450e9, 5e-6),
    "pcie4": Link(31.5e9, 10e-6),
    "pcie5": Link(63e9, 10e-6),
    "hdr": Link(25e9, 10e-6),
    "ndr": Link(50e9, 10e-6),
    "100gbe": Link(12.5e9, 30e-6),
    "25gbe": Link(3.125e9, 30e-6),
    "10gbe": Link(1.25e9, 50e-6),
    "1gbe": Link(0.125e9, 100e-6),
}


@dataclass(frozen=True)
class Question:
    """What the command line asks for; by default, what the machine and the measured rows suggest."""

    counts: tuple[int, ...] = ()
    link: Link | None = None
    between: Link | None = None
    per_node: int | None = None

    @property
    def is_asked(self) -> bool:
        """Whether the command line asks anything at all."""
        return self != Question()


def read_question(counts: str | None, link: str | None, between: str | None, per_node: int | None) -> Question:
    """The flags --predict, --link, --inter-node and --per-node as they were typed. Raises `UsageError`."""
    if per_node and not between:
        raise UsageError(f"--per-node {per_node} needs --inter-node 50GB/s,5us: how nodes are joined")
    return Question(
        counts=_read_counts(counts, "--predict") if counts else (),
        link=_read_link(link, "--link") if link else None,
        between=_read_link(between, "--inter-node") if between else None,
        per_node=per_node,
    )


def _read_link(text: str, flag: str) -> Link:
    """Rate, then latency (0 if left out), or a preset."""
    if text in PRESETS:
        return replace(PRESETS[text], name=text)
    match = PATTERN.fullmatch(text.strip())
    if not match or match[2] not in BYTES or (match[4] and match[4] not in SECONDS) or not float(match[1]):
        raise UsageError(f"{flag} {text}: give a rate and a latency, 25GB/s,10us, or one of {', '.join(PRESETS)}")
    latency = float(match[3]) * SECONDS[match[4]] if match[3] else 0.0
    return Link(float(match[1]) * BYTES[match[2]], latency, text.strip())


def _read_counts(text: str, flag: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and 1 <= int(part) <= MAX_DEVICES for part in parts):
        raise UsageError(f"{flag} {text}: give numbers of devices from 1 to {MAX_DEVICES:,}, such as 1,2,4,8")
    return tuple(sorted({int(part) for part in parts}))


@dataclass(frozen=True)
class MeasuredTable:
    """Step 01's table: interpolated between its sizes, and from its m ranks to n by the ring's formula.

    The time of the quickest message counts as latency, which grows with n − 1; the rest is sending, 2 (n − 1) / n
    (nccl-tests, doc/PERFORMANCE.md). Beyond the largest message its bandwidth goes on.
    """

    table: AllReduce

    def seconds(self, size: float, devices: int) -> float:
        if devices < 2:
            return 0.0
        known = [time for time in self.table.times if time.seconds]
        smallest, largest = known[0].bytes, known[-1].bytes
        seconds = all_reduce_seconds(known, round(min(max(size, smallest), largest)))
        seconds *= max(1.0, size / largest)
        latency, ranks = min(time.seconds for time in known), self.table.ranks
        sending = max(0.0, seconds - latency)
        return latency * (devices - 1) / (ranks - 1) + sending * ring_share(devices) / ring_share(ranks)

    def rests_on(self) -> Message:
        return message("forecast.on_table", ranks=self.table.ranks, backend=self.table.backend)

    def is_measured(self, devices: int) -> bool:
        return devices in (1, self.table.ranks)


@dataclass(frozen=True)
class Ring:
    """A ring over one kind of link: 2 (n − 1) messages, each of S / n bytes: 2 (n − 1) α + 2 (n − 1) / n · S / B."""

    link: Link

    def seconds(self, size: float, devices: int) -> float:
        sending = ring_share(devices) * size / self.link.bytes_per_second
        return 2 * (devices - 1) * self.link.latency_seconds + sending

    def rests_on(self) -> Message:
        return message("forecast.on_link", link=self.link.name)

    def is_measured(self, devices: int) -> bool:
        return devices == 1


@dataclass(frozen=True)
class Nodes:
    """Rings within each node, and rings between nodes over what a node's own link carries.

    Within: reduce-scatter and all-gather of all bytes, together an all-reduce. Between: each device's part, S / p, with
    those of the same place in other nodes; the p rings share the node's link, so that S crosses it as one ring would.
    """

    within: MeasuredTable | Ring
    between: Link
    per_node: int

    def seconds(self, size: float, devices: int) -> float:
        if devices <= self.per_node:
            return self.within.seconds(size, devices)
        nodes = -(-devices // self.per_node)
        return self.within.seconds(size, self.per_node) + Ring(self.between).seconds(size, nodes)

    def rests_on(self) -> Message:
        return message("forecast.on_nodes", within=self.within.rests_on(), link=self.between.name, count=self.per_node)

    def is_measured(self, devices: int) -> bool:
        return devices <= self.per_node and self.within.is_measured(devices)


AllReduceModel = MeasuredTable | Ring | Nodes


def ring_share(devices: int) -> float:
    """2 (n − 1) / n: what each of n devices sends of a message, in messages."""
    return 2 * (devices - 1) / devices
