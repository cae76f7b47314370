"""What does not add up in a record, in words: its times, its dates, its samples, its name."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from common.records import Record

CLOCKS_DIFFER, CLOCKS_DIFFER_SECONDS = 0.03, 0.02
"""By more than both, the steps of an epoch and the host's clock disagree: in 550 epochs' times of the examples they
differ by 0.06 % at most, and on a host with three jobs for each core by 1.2 %, 6 ms."""
DIGITS = 7
"""Decimals of a step time, to which the lab rounds."""
A_SECOND = 1.5
"""Dates of a record are whole seconds."""


def doubts(record: Record, file: str) -> list[str]:
    """Of a record in a file of this name: what does not add up, in words."""
    return list(dict.fromkeys((*_of_times(record), *_of_dates(record), *_of_samples(record), *_of_name(record, file))))


def _of_times(record: Record) -> Iterator[str]:
    for rank in record.ranks:
        for epoch, part, host in zip(record.epochs, record.epoch_slices, rank.host_epoch_seconds, strict=True):
            steps = sum(rank.step_seconds[part])
            if abs(steps - host) > max(CLOCKS_DIFFER * host, CLOCKS_DIFFER_SECONDS):
                yield (
                    f"epoch {epoch.epoch}, rank {rank.rank}: the steps add up to {steps:.2f} s, the clock says "
                    f"{host:.2f} s"
                )
        if any(round(seconds, DIGITS) != seconds for seconds in rank.step_seconds):
            yield f"rank {rank.rank}: step times with more than {DIGITS} decimals, which the lab does not write"


def _of_dates(record: Record) -> Iterator[str]:
    try:
        started, finished = map(datetime.fromisoformat, (record.started_at, record.finished_at))
        lasted = (finished - started).total_seconds()
        stamp = record.run_id.rpartition("_")[2].partition("-")[0]
        named = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=started.tzinfo)
        measured = max((sum(rank.host_epoch_seconds) for rank in record.ranks), default=0.0)
        if measured > lasted + A_SECOND:
            yield f"epochs of {measured:.1f} s in a run of {lasted:.0f} s"
        if abs((named - started).total_seconds()) > A_SECOND:
            yield f"called {stamp}, but started at {record.started_at}"
    except (TypeError, ValueError):
        yield "dates that the lab does not write"


def _of_samples(record: Record) -> Iterator[str]:
    for number, epoch in enumerate(record.epochs):
        seen = sum(rank.samples[number] for rank in record.ranks)
        checksum = sum(int(rank.checksums[number], 16) for rank in record.ranks) % 2**64
        if record.status == "completed" and (seen, f"{checksum:016x}") != (epoch.samples, epoch.expected_checksum):
            yield f"epoch {epoch.epoch}: {seen} samples of {epoch.samples}, or others than these"


def _of_name(record: Record, file: str) -> Iterator[str]:
    if file != f"{record.run_id}.json":
        yield f"its name in the record is {record.run_id}"
