"""Which configurations of two folders are the same one, and what differs between them all the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

from common.analysis.comparing.facts import MAX_CANDIDATES, Fact, Facts, configuration, grouped
from common.analysis.comparing.rows import Row

MAY_DIFFER = (
    "device_model", "driver", "torch", "torchvision", "cuda", "cudnn", "nccl", "python", "machine", "cpu_model",
    "cpu_cores", "cpu_quota", "interpreter_lock", "variables", "transport", "backend", "backend_class",
    "threads_per_device", "loader_workers_per_device", "model_source", "samples_per_epoch", "epochs", "warmup_steps",
)  # fmt: skip
"""What two environments, two versions of a program, or two defaults may differ in, and is then said. All else that
tells configurations apart must agree."""
LEFT_OUT = (*MAY_DIFFER, "campaign")
"""For which campaign a run was made moves nothing."""
Matches = list[tuple[Row, Row]]


def matched(before: Sequence[Row], after: Sequence[Row]) -> Matches:
    """Pairs of the same configuration, before and after, in the order of `after`; each row stands in one at most.

    Of several that fit, those that differ least are a pair; of equals the newest.
    """
    earlier, later = grouped(before, _work), grouped(after, _work)
    pairs = [pair for work, rows in later.items() for pair in _closest_pairs(earlier.get(work, []), rows)]
    place = {row: number for number, row in enumerate(after)}
    return sorted(pairs, key=lambda pair: place[pair[1]])


def _closest_pairs(before: Sequence[Row], after: Sequence[Row]) -> Iterator[tuple[Row, Row]]:
    newest = product(before[: -MAX_CANDIDATES - 1 : -1], after[: -MAX_CANDIDATES - 1 : -1])
    taken: set[Row] = set()
    for pair in sorted(newest, key=lambda pair: len(differing_facts(*pair))):
        if taken.isdisjoint(pair):
            taken.update(pair)
            yield pair


def _work(row: Row) -> tuple:
    return tuple(_named_work(row).values())


def _named_work(row: Row) -> Facts:
    """What two rows must agree in."""
    every = {"device_kind": row.record.world.device_kind, **configuration(row.record)}
    return {name: value for name, value in every.items() if name not in LEFT_OUT}


def differing_facts(before: Row, after: Row) -> dict[str, tuple[Fact, Fact]]:
    """Values before and after of each fact that both have and that differs. Machines are named by their hosts, where
    these differ."""
    first, second = configuration(before.record), configuration(after.record)
    hosts = [row.record.environment.hostname for row in (before, after)]
    found = {name: (first[name], second[name]) for name in MAY_DIFFER
             if first[name] != second[name] and None not in (first[name], second[name])}  # fmt: skip
    if "machine" in found and hosts[0] != hosts[1]:
        found["machine"] = (hosts[0], hosts[1])
    return found


def nearest(before: Sequence[Row], after: Sequence[Row]) -> str:
    """In words, what keeps apart the two that come closest to one configuration; nothing where a side is empty."""
    keys = [[_named_work(row) for row in rows[-MAX_CANDIDATES:]] for rows in (before, after)]
    apart = ({name: (first[name], second[name]) for name in first if first[name] != second[name]}
             for first, second in product(*keys))  # fmt: skip
    fewest = min(apart, key=len, default={})
    shown = ", ".join(f"{name} {one} and {other}" for name, (one, other) in sorted(fewest.items())[:3])
    return f" (the closest two differ in {shown})" if shown else ""
