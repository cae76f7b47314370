"""What a prediction starts from: the command line's question, one device's row, and what step 01 measured.

A link is given as `25GB/s,10us`, or by a known name. Formulas: docs/prediction.md.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from common.analysis.comparing.groups import Group
from common.analysis.comparing.rows import Row
from common.errors import UsageError
from common.records import AllReduce, Probes

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
    per_node: int = 1

    @property
    def is_asked(self) -> bool:
        """Whether the command line asks anything at all."""
        return self != Question()


def read_question(counts: str | None, link: str | None, between: str | None, per_node: int | None) -> Question:
    """The flags --predict, --link, --inter-node and --per-node as they were typed. Raises `UsageError`."""
    if per_node and not between:
        raise UsageError(f"--per-node {per_node} needs --inter-node 50GB/s,5us: how nodes are joined")
    parts = [part.strip() for part in counts.split(",")] if counts else []
    if not all(part.isdecimal() and 1 <= int(part) <= MAX_DEVICES for part in parts):
        raise UsageError(f"--predict {counts}: give numbers of devices from 1 to {MAX_DEVICES:,}, such as 1,2,4,8")
    return Question(
        counts=tuple(sorted({int(part) for part in parts})),
        link=_read_link(link, "--link") if link else None,
        between=_read_link(between, "--inter-node") if between else None,
        per_node=per_node or 1,
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


MIN_ERROR = 0.01
"""No machine repeats a step more closely from one launch to the next."""
FIRST_BUCKET_BYTES, BUCKET_BYTES = 2**20, 25 * 2**20
"""torch's defaults. A bucket is closed when it has reached its size."""
SMALL_KERNEL_SECONDS = 2.5e-6
"""What a GPU needs for the smallest kernel: DDP copies each gradient into its bucket by one."""


@dataclass(frozen=True)
class Basis:
    """One device, in seconds and bytes."""

    row: Row
    step: float
    """The mean over the measured epochs, of which the page's throughput is made."""
    step_error: float
    """Half of its interval, as a share."""
    backward: float
    gradient_bytes: int
    parameters: int
    """Tensors; 0 where the record does not say when gradients are complete."""
    buckets: list[tuple[int, float]]
    """Gradients that are exchanged in one message: their bytes, and the share of the backward pass after which all of
    them are complete."""
    probes: Probes
    """Empty where step 01 measured nothing of this device model."""

    @property
    def all_reduce(self) -> AllReduce | None:
        """Step 01's table, where two of its times at least are good."""
        table = self.probes.all_reduce
        return table if table and sum(bool(time.seconds) for time in table.times) > 1 else None

    def slowdown(self, devices: int) -> float:
        """What `devices` at once take longer than one, by step 01; 1 where that was not measured."""
        together = self.probes.together
        if together is None or devices < 2:
            return 1.0
        more = max(0.0, together.slowdown - 1)
        return 1 + more * min(1.0, (devices - 1) / (together.workers - 1))

    def memory_rate(self) -> float | None:
        """Bytes read and written a second, by step 01."""
        rates = [rate for rate in self.probes.memory if rate.device_model == self.row.record.world.device_model]
        return rates[-1].bytes_per_second if rates else None


def basis_of(group: Group) -> Basis | None:
    """The group's row of one device, if its steps were profiled; strong scaling has none for the smaller batches."""
    rows = [row for row in group.main_rows if not row.is_parallel and row.is_valid and row.profile]
    if not rows or group.scaling != "weak" or "backward" not in rows[-1].profile.slowest.phases:
        return None
    row = rows[-1]
    static, ready = row.record.static_memory, row.profile.gradients
    if static is None:
        return None
    low, high = row.step.bounds
    share = row.step.value / row.profile.slowest.step.value
    total = static.gradient_bytes
    if ready:
        gradients = [(size, moment / ready.backward_seconds)
                     for size, moment in zip(ready.bytes, ready.ready_seconds, strict=True)]  # fmt: skip
    else:  # evenly, by bytes, over the backward pass
        gradients = [(min(FIRST_BUCKET_BYTES, total - start), min(start + FIRST_BUCKET_BYTES, total) / total)
                     for start in range(0, total, FIRST_BUCKET_BYTES)]  # fmt: skip
    return Basis(
        row=row,
        step=row.step.value,
        step_error=max(MIN_ERROR, (high - low) / 2 / row.step.value),
        backward=share * row.profile.slowest.phases["backward"].value,
        gradient_bytes=total,
        parameters=len(ready.bytes) if ready else 0,
        buckets=fill_buckets(gradients),
        # The newest that were measured on this device model, and on no other beside it.
        probes=next((record.probes for record in reversed(row.probed)
                     if record.probes.device_models == {row.record.world.device_model}), Probes(seconds=0)),
    )  # fmt: skip


def fill_buckets(gradients: Iterable[tuple[int, float]]) -> list[tuple[int, float]]:
    """torch's buckets, of gradients in the order in which they are complete (DDP lays them so after its first step):
    bytes, and the share of the backward pass after which they are."""
    buckets: list[tuple[int, float]] = []
    held, last = 0, 0.0
    for size, ready in gradients:
        held, last = held + size, max(last, ready)
        if held >= (BUCKET_BYTES if buckets else FIRST_BUCKET_BYTES):
            buckets.append((held, min(1.0, last)))
            held = 0
    return [*buckets, (held, min(1.0, last))] if held else buckets
