"""Reads and checks one file of a results folder. What cannot be used is refused, with the reason in words."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from common.records import SCHEMA_VERSION, EnvironmentRecord, FaultRecord, Record

MAX_FILE_BYTES = 256 * 2**20
"""A longer file is not opened: validated, it takes several times its size in memory."""
MAX_FAULT_BYTES = 2**20

AnyRecord = TypeAdapter(Annotated[Record | EnvironmentRecord, Field(discriminator="kind")])


class RefusedError(Exception):
    """A file that cannot be used. The message is the reason, in words."""


def read_record(path: Path) -> Record | EnvironmentRecord:
    """A run, or what step 01 wrote. RefusedError where the file is neither."""
    content = _content(path, MAX_FILE_BYTES)
    try:
        record = AnyRecord.validate_json(content, strict=True)  # "1" and true are no numbers
    except ValidationError as error:
        raise RefusedError(_reason(error, content)) from None
    json.loads(content, object_pairs_hook=_refuse_duplicates)
    return record


def read_fault(path: Path) -> FaultRecord:
    """What `make faults` wrote about one fault. RefusedError where the file is no such record."""
    try:
        return FaultRecord.model_validate_json(_content(path, MAX_FAULT_BYTES), strict=True)
    except (RefusedError, ValidationError):
        raise RefusedError("no record of a fault that this lab knows") from None


def _content(path: Path, limit: int) -> bytes:
    try:
        if not path.is_file():  # to open a FIFO would wait for ever
            raise RefusedError("not a file")
        size = path.stat().st_size
        if size > limit:
            raise RefusedError(f"{size / 2**20:.0f} MiB: too large for a record (limit {limit / 2**20:.0f} MiB)")
        return path.read_bytes()
    except OSError as error:
        raise RefusedError(f"cannot be read: {error.strerror or error}") from None


def _refuse_duplicates(pairs: list[tuple[str, object]]) -> None:
    """JSON's readers keep the last value of a key that stands twice in an object, and lose the first."""
    counts = Counter(key for key, _ in pairs)
    if len(counts) < len(pairs):
        key = counts.most_common(1)[0][0]
        raise RefusedError(f"the key {key[:40]} stands twice in one object: the file was edited")


def _reason(error: ValidationError, content: bytes) -> str:
    """The first thing that is wrong, in words."""
    problems = error.errors(include_url=False, include_context=False)
    for problem in problems:
        if problem["loc"][-1:] == ("schema_version",):
            return (
                f"written with schema version {str(problem['input'])[:20]}, this lab reads version {SCHEMA_VERSION}: "
                "read it with the lab that wrote it, or run again"
            )
    first = problems[0]
    if first["type"] == "json_invalid":
        try:
            content.decode()
        except UnicodeDecodeError:
            return "not UTF-8 text"
        return f"not complete JSON ({first['msg'].removeprefix('Invalid JSON: ')}): the file was cut off or edited"
    if first["type"].startswith("union_tag") or first["type"] == "model_attributes_type":
        return "JSON, but not a record of this lab"
    where = ".".join(str(part) for part in first["loc"][1:]) or "record"
    value = "" if first["type"] in ("missing", "value_error") else f" (found {str(first['input'])[:40]})"
    more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
    return f"{where[:80]}: {first['msg']}{value}{more}"
