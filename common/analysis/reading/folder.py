"""Reads a folder of records: what can be used, and what was refused, and why. One file at a time is held in memory."""

import json
import math
import traceback
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from common.analysis.reading.runs import RefusedError, Run, summarise
from common.errors import UsageError
from common.records import AnyRecord, EnvironmentRecord, FaultRecord, PredictionRecord, Record, fault_names, machine_of

MAX_FILE_BYTES = 256 * 2**20
"""A longer file is not opened: validated, it takes several times its size in memory."""

ANY_RECORD = TypeAdapter(Annotated[Record | EnvironmentRecord | PredictionRecord, Field(discriminator="kind")])


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
    predictions: list[PredictionRecord] = field(default_factory=list)
    """What step 05 was asked to predict."""
    skipped: list[Skipped] = field(default_factory=list)
    faults: list[FaultRecord] = field(default_factory=list)
    """Those that `make faults` has caused, or could not cause here; the newest record of each, in the lab's order."""

    @property
    def failed(self) -> list[Record]:
        """Runs that failed, newest last; without those that were interrupted, or may still go on."""
        return [run.record for run in self.runs if run.record.status == "failed" and run.record.failure]


def read_folder(folder: Path, flag: str = "--results-dir") -> Folder:
    """Read every `*.json` in `folder` itself, but for hidden ones. UsageError where there is no such folder; `flag`
    has named it."""
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".json" and path.name[0] != ".")
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(f"cannot read {flag} {folder} ({reason}): give the folder that 02, 03 and 04 wrote") from None
    used: list[Run | AnyRecord] = []
    skipped: list[Skipped] = []
    seen: dict[tuple[str, str], str] = {}
    shared_parts: dict[str, BaseModel] = {}
    for path in paths:
        name = _text_of(path)
        try:
            record = read_record(path)
            marks = record_marks(record)
            for mark in marks:
                if mark in seen:
                    raise RefusedError(f"the same {mark[0]} as {seen[mark]}, which was used: a copy")
            if isinstance(record, Record):
                _share_parts(record, shared_parts)
                used.append(summarise(name, record))
            else:
                used.append(record)
            seen |= dict.fromkeys(marks, name)
        except RefusedError as error:
            skipped.append(Skipped(name, str(error)))
        except Exception as error:
            # A mistake of ours costs this file, never the page; nor may it pass for a mistake of the file.
            where = traceback.extract_tb(error.__traceback__)[-1]
            reason = f"{type(error).__name__}: {error} ({Path(where.filename).name}, line {where.lineno})"
            skipped.append(Skipped(name, reason, is_our_fault=True))
    environments = sorted((one for one in used if isinstance(one, EnvironmentRecord)), key=lambda one: one.started_at)
    runs = sorted((one for one in used if isinstance(one, Run)), key=lambda one: (one.record.started_at, one.file))
    return Folder(
        runs=_with_devices_before(runs, environments),
        environment=environments[-1] if environments else None,
        probed=[record for record in environments if record.probes],
        predictions=[one for one in used if isinstance(one, PredictionRecord)],
        faults=_read_faults(folder / "faults", skipped),
        skipped=skipped,
    )


def _with_devices_before(runs: Sequence[Run], environments: Iterable[EnvironmentRecord]) -> list[Run]:
    """The runs, each with the devices of the largest run on its machine that ended within the minute before it began:
    the load average still contains it. Step 01 counts, too: its probes keep every device busy."""
    busy = [(_timestamp(run.record.finished_at), run.record.world.threads, run.record.environment) for run in runs]
    busy += [(_timestamp(record.started_at) + record.probes.seconds, record.environment.devices, record.environment)
             for record in environments if record.probes]  # fmt: skip
    ends = np.asarray([end for end, _, _ in busy])

    def devices_before(record: Record) -> int:
        start, machine = _timestamp(record.started_at), machine_of(record.environment)
        recent = np.flatnonzero((start - 60 <= ends) & (ends <= start))
        return max((busy[place][1] for place in recent if machine_of(busy[place][2]) == machine), default=0)

    return [replace(run, devices_before=devices_before(run.record)) for run in runs]


def _timestamp(text: str) -> float:
    """Seconds since 1970; nan for what is no time, which is neither before nor after any other."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return math.nan


def _text_of(path: Path) -> str:
    """A file's name, which may be no text at all."""
    return path.name.encode(errors="replace").decode()


def record_marks(record: AnyRecord) -> list[tuple[str, str]]:
    """What no two records have in common, whatever their files are called: each run counts once.

    No two runs agree in all ranks' step times to the last tenth of a microsecond. Where all times are equal, or there
    is one alone, that two clocks show the same is no proof.
    """
    marks = [("run_id", record.run_id)]
    times = [np.asarray(rank.step_seconds) for rank in record.ranks] if isinstance(record, Record) else []
    if len({time for of_rank in times for time in np.unique(of_rank)}) > 1:
        marks.append(("step times", sha256(b"|".join(of_rank.tobytes() for of_rank in times)).hexdigest()))
    return marks


def _share_parts(record: Record, shared_parts: dict[str, BaseModel]) -> None:
    """Equal parts of many records become one object: ten thousand runs of one machine describe it once."""
    for part in ("config", "environment", "world", "static_memory"):
        if value := getattr(record, part):
            setattr(record, part, shared_parts.setdefault(value.model_dump_json(), value))


def _read_faults(folder: Path, skipped: list[Skipped]) -> list[FaultRecord]:
    """The newest record of each fault; one that was caused counts more than one that could not be."""
    newest = {}
    for path in sorted(folder.glob("fault_*.json")):
        try:
            record = FaultRecord.model_validate_json(_content(path), strict=True)
            newest[fault_names().index(record.fault), record.missing is None, record.started_at] = record
        except (RefusedError, ValueError):
            skipped.append(Skipped(f"{folder.name}/{_text_of(path)}", "no record of a fault that this lab knows"))
    return list({record.fault: record for _, record in sorted(newest.items())}.values())


def read_record(path: Path) -> AnyRecord:
    """A run, or what step 01 or 05 wrote. RefusedError where the file is neither."""
    content = _content(path)
    try:
        record = ANY_RECORD.validate_json(content, strict=True)  # "1" and true are no numbers
    except ValidationError as error:
        raise RefusedError(_reason(error)) from None
    json.loads(content, object_pairs_hook=_refuse_duplicates)
    return record


def _content(path: Path) -> str:
    try:
        if not path.is_file():  # to open a FIFO would wait for ever
            raise RefusedError("not a file")
        size, limit = path.stat().st_size / 2**20, MAX_FILE_BYTES / 2**20
        if size > limit:
            raise RefusedError(f"{size:.0f} MiB: too large for a record (limit {limit:.0f} MiB)")
        return path.read_bytes().decode()
    except OSError as error:
        raise RefusedError(f"cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise RefusedError("not UTF-8 text") from None


def _refuse_duplicates(pairs: list[tuple[str, object]]) -> None:
    """JSON's readers keep the last value of a key that stands twice in an object, and lose the first."""
    counts = Counter(key for key, _ in pairs)
    if len(counts) < len(pairs):
        key = counts.most_common(1)[0][0]
        raise RefusedError(f"the key {key[:40]} stands twice in one object: the file was edited")


def _reason(error: ValidationError) -> str:
    """The first thing that is wrong, in words."""
    problems = error.errors(include_url=False, include_context=False)
    for problem in problems:
        if problem["loc"][-1:] == ("schema_version",):
            return (
                f"written with schema version {str(problem['input'])[:20]}, this lab reads version 1: "
                "read it with the lab that wrote it, or run again"
            )
    first = problems[0]
    if first["type"] == "json_invalid":
        return f"not complete JSON ({first['msg'].removeprefix('Invalid JSON: ')}): the file was cut off or edited"
    if first["type"].startswith("union_tag") or first["type"] == "model_attributes_type":
        return "JSON, but not a record of this lab"
    where = ".".join(str(part) for part in first["loc"][1:]) or "record"
    value = "" if first["type"] in ("missing", "value_error") else f" (found {str(first['input'])[:40]})"
    more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
    return f"{where[:80]}: {first['msg']}{value}{more}"
