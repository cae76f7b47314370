"""The faults that `make faults` has caused: the newest record of each."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from common.records import FaultRecord, fault_names
from common.records.files import read_regular

MAX_BYTES = 2**20
FOLDER = "faults"
"""Beside the records of runs."""


def read_faults(results: Path) -> tuple[list[FaultRecord], list[str]]:
    """Faults in the lab's order, and the files that are no such records. One that was caused counts more than one that
    could not be, and a newer record more than an older one."""
    newest: dict[str, FaultRecord] = {}
    refused = []
    for path in sorted((results / FOLDER).glob("fault_*.json")):
        try:
            if path.stat().st_size > MAX_BYTES:
                raise ValueError("too large")
            record = FaultRecord.model_validate_json(read_regular(path), strict=True)
        except (OSError, ValueError, ValidationError):
            refused.append(f"{FOLDER}/{path.name.encode(errors='replace').decode()}")
            continue
        known = newest.get(record.fault)
        if known is None or _weight(record) >= _weight(known):
            newest[record.fault] = record
    return [newest[name] for name in fault_names() if name in newest], refused


def _weight(record: FaultRecord) -> tuple[bool, str]:
    return record.missing is None, record.started_at
