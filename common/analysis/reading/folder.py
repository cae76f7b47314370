"""Reads a folder of records: what can be used, and what was skipped and why. One file at a time is held in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from common.analysis.reading.runs import Run, summarise
from common.errors import UsageError
from common.records import SCHEMA_VERSION, EnvironmentRecord, Probes, Record

LARGEST_FILE_BYTES = 256 * 2**20
"""A longer file is not opened: validated, it takes several times its size in memory."""

AnyRecord = TypeAdapter(Annotated[Record | EnvironmentRecord, Field(discriminator="kind")])


@dataclass(frozen=True)
class Skipped:
    """A file that is not used, and the reason in words."""

    file: str
    reason: str


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

    @property
    def probes(self) -> list[Probes]:
        """What step 01 measured, newest last."""
        return [record.probes for record in self.probed]


def read_folder(folder: Path) -> Folder:
    """Read every `*.json` in `folder` itself. UsageError where there is no such folder."""
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix == ".json")
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(
            f"cannot read --results-dir {folder} ({reason}): give the folder that 02, 03 and 04 wrote"
        ) from None
    found, seen, shared_parts = Folder(), {}, {}
    for path in paths:
        name = path.name.encode(errors="replace").decode()  # a name may be no text at all
        try:
            record = read_record(path)
            if record.run_id in seen:
                raise ValueError(f"the same run_id as {seen[record.run_id]}, which was used")
            if isinstance(record, EnvironmentRecord):
                if found.environment is None or record.started_at > found.environment.started_at:
                    found.environment = record
                if record.probes:
                    found.probed.append(record)
            else:
                run = summarise(name, record)
                if run.seconds_per_sample is None and record.status == "completed":
                    raise ValueError("its step times add up to no usable time")
                found.runs.append(run)
                _share_parts(run.record, shared_parts)
            seen[record.run_id] = name
        except ValueError as error:
            found.skipped.append(Skipped(name, str(error)))
    found.runs.sort(key=lambda run: (run.record.started_at, run.file))
    found.probed.sort(key=lambda record: record.started_at)
    return found


def read_record(path: Path) -> Record | EnvironmentRecord:
    """Read and check one file. ValueError, with the reason in words, where it cannot be used."""
    try:
        if not path.is_file():
            raise ValueError("not a file")
        size = path.stat().st_size
        if size > LARGEST_FILE_BYTES:
            raise ValueError(
                f"{size / 2**20:.0f} MiB: too large for a record (limit {LARGEST_FILE_BYTES / 2**20:.0f} MiB)"
            )
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror or error}") from None
    try:
        return AnyRecord.validate_json(content)
    except ValidationError as error:
        raise ValueError(_reason(error, content)) from None


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
