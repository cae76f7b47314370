"""How long an all-reduce takes: by step 01's table, over a link that is given, over nodes.

Each kind has `seconds(size, devices)`, the ids of what it rests on, and knows where it leaves what was measured.
Formulas: docs/prediction.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from common.analysis.comparing.utilisation import all_reduce_seconds
from common.analysis.predicting.question import Link
from common.content import Message, message
from common.records import AllReduce


class AllReduceModel(Protocol):
    """Anything that says how long an all-reduce takes."""

    def seconds(self, size: float, devices: int) -> float:
        """For a message of `size` bytes on each of `devices`; 0 for one of them."""

    def rests_on(self) -> Message:
        """In words, by id."""

    def is_measured(self, devices: int) -> bool:
        """Whether it was measured for so many devices, and is no extrapolation."""


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
        found = all_reduce_seconds(known, round(min(max(size, smallest), largest)))
        found *= max(1.0, size / largest)
        latency, ranks = min(time.seconds for time in known), self.table.ranks
        sending = max(0.0, found - latency)
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

    within: AllReduceModel
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


def ring_share(devices: int) -> float:
    """2 (n − 1) / n: what each of n devices sends of a message, in messages."""
    return 2 * (devices - 1) / devices
