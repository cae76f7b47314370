"""What the command line of step 05 asks about the future: numbers of devices, and links that are not here.

A link is given as `25GB/s,10us`, or by a known name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from common.errors import UsageError

MAX_GPUS_IN_A_MACHINE = 8
MAX_DEVICES = 1024
BYTES = {"B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
BITS = {"bit": 1 / 8, "kbit": 1e3 / 8, "Mbit": 1e6 / 8, "Gbit": 1e9 / 8}
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
    """A link from what stands after a flag: rate, then latency (0 if left out), or a preset."""
    if text in PRESETS:
        return replace(PRESETS[text], name=text)
    match = PATTERN.fullmatch(text.strip())
    units = BYTES | BITS
    if not match or match[2] not in units or (match[4] and match[4] not in SECONDS) or not float(match[1]):
        raise UsageError(f"{flag} {text}: give a rate and a latency, 25GB/s,10us, or one of {', '.join(PRESETS)}")
    latency = float(match[3]) * SECONDS[match[4]] if match[3] else 0.0
    return Link(float(match[1]) * units[match[2]], latency, text.strip())


def _read_counts(text: str, flag: str) -> tuple[int, ...]:
    """`1,2,4,8`: numbers of devices, at most 1,024."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and 1 <= int(part) <= MAX_DEVICES for part in parts):
        raise UsageError(f"{flag} {text}: give numbers of devices from 1 to {MAX_DEVICES:,}, such as 1,2,4,8")
    return tuple(sorted({int(part) for part in parts}))
