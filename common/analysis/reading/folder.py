"""Reads a folder of records: what can be used, and what was skipped and why. One file at a time is held in memory."""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from common.analysis.reading.copies import fingerprint
from common.analysis.reading.duplicate_keys import duplicate_key
from common.analysis.reading.faults_caused import read_faults
from common.analysis.reading.runs import Run, summarise
from common.analysis.reading.runs_before import with_devices_before
from common.errors import UsageError
from common.records import SCHEMA_VERSION, EnvironmentRecord, FaultRecord, Probes, Record

MAX_FILE_BYTES = 256 * 2**20
"""A longer file is not opened: validated, it takes several times its size in memory."""

AnyRecord = TypeAdapter(Annotated[Record | EnvironmentRecord, Field(discriminator="kind")])


class RefusedError(Exception):
    """A file that cannot be used. The message is the reason, in words."""


@dataclass(frozen=True)
class Skipped:
    """A file that is not used, and the reason in words."""

    file: str
    reason: str
    is_our_fault: bool = False
    """An error of this program and not of the file: somebody must hear of it."""


@dataclass
class Folder:
    """What a results folder holds."""

    runs: list[Run] = field(default_factory=list)
    """Newest last."""
    environment: EnvironmentRecord | None = None
    """The newest of step 01."""
    probed: list[EnvironmentRecord] = field(default_factory=list)
    """Records of step 01 that measured what the parts can do, newest last."""
    skipped: list[Skipped] = field(default_factory=list)
    faults: list[FaultRecord] = field(default_factory=list)
    """Those that `make faults` has caused, or could not cause here; the newest record of each."""

    @property
    def probes(self) -> list[Probes]:
        """What step 01 measured, newest last."""
        return [record.probes for record in self.probed]


def read_folder(folder: Path) -> Folder:
    """Read every `*.json` in `folder` itself, but for hidden ones. UsageError where there is no such folder."""
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".json" and path.name[0] != ".")
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(
            f"cannot read --results-dir {folder} ({reason}): give the folder that 02, 03 and 04 wrote"
        ) from None
    found, checked = Folder(), []
    seen: dict[str, str] = {}
    times_seen: dict[str, str] = {}
    shared_parts: dict[str, BaseModel] = {}
    for path in paths:
        name = path.name.encode(errors="replace").decode()  # a name may be no text at all
        try:
            record = read_record(path)
            if record.run_id in seen:
                raise RefusedError(f"the same run_id as {seen[record.run_id]}, which was used")
            if isinstance(record, EnvironmentRecord):
                checked.append(record)
            else:
                times = fingerprint(record)
                if times in times_seen:
                    raise RefusedError(f"the same step times as {times_seen[times]}, which was used: a copy")
                run = summarise(name, record)
                if run.seconds_per_sample is None and record.status == "completed":
                    raise RefusedError("its step times add up to no usable time")
                found.runs.append(run)
                if times:
                    times_seen[times] = name
                _share_parts(run.record, shared_parts)
            seen[record.run_id] = name
        except RefusedError as error:
            found.skipped.append(Skipped(name, str(error)))
        except Exception as error:
            # A mistake of ours costs this file, never the page; nor may it pass for a mistake of the file.
            found.skipped.append(our_fault(name, error))
    found.runs = with_devices_before(sorted(found.runs, key=lambda run: (run.record.started_at, run.file)), checked)
    checked.sort(key=lambda record: record.started_at)
    found.environment = checked[-1] if checked else None
    found.probed = [record for record in checked if record.probes]
    found.faults, refused = read_faults(folder)
    found.skipped += [Skipped(name, "no record of a fault that this lab knows") for name in refused]
    return found


def our_fault(file: str, error: Exception) -> Skipped:
    """A file that this program, by a mistake of its own, cannot deal with."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    told = f"{type(error).__name__}: {error} ({Path(where.filename).name}, line {where.lineno})"
    return Skipped(file, told, is_our_fault=True)


def read_record(path: Path) -> Record | EnvironmentRecord:
    """Read and check one file. RefusedError, with the reason in words, where it cannot be used."""
    try:
        if not path.is_file():
            raise RefusedError("not a file")
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise RefusedError(
                f"{size / 2**20:.0f} MiB: too large for a record (limit {MAX_FILE_BYTES / 2**20:.0f} MiB)"
            )
        content = path.read_bytes()
    except OSError as error:
        raise RefusedError(f"cannot be read: {error.strerror or error}") from None
    try:
        record = AnyRecord.validate_json(content, strict=True)  # "1" and true are no numbers
    except ValidationError as error:
        raise RefusedError(_reason(error, content)) from None
    if (key := duplicate_key(content)) is not None:
        raise RefusedError(f"the key {key[:40]} stands twice in one object: the file was edited")
    return record


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
    found = "" if first["type"] in ("missing", "value_error") else f" (found {str(first['input'])[:40]})"
    more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
    return f"{where[:80]}: {first['msg']}{found}{more}"


def _share_parts(record: Record, known: dict[str, BaseModel]) -> None:
    """Let equal parts of many records be one object: ten thousand runs of one machine describe it once."""
    for name in ("config", "environment", "world", "static_memory"):
        part = getattr(record, name)
        if part is not None:
            setattr(record, name, known.setdefault(part.model_dump_json(), part))
