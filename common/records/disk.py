"""Records on the disk: whole or not at all, and no file that this lab has not made is ever replaced or deleted.

A run owns its record. It knows what it has written, and asks the file only what another rank may have put there: a
record that is cut off, locked or replaced while the run goes on costs no epoch.
"""

from __future__ import annotations

import errno
import json
import os
import re
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import time
from typing import BinaryIO

from pydantic_core import PydanticSerializationError

from common.errors import UsageError
from common.formats import printable
from common.records.environment_record import EnvironmentRecord
from common.records.fault_record import FaultRecord
from common.records.files import record_in, write_whole
from common.records.record import Record

AnyRecord = Record | EnvironmentRecord | FaultRecord
PART = re.compile(
    r"\.(?:(?:0[1-4]|fault)_.+[-_]\d{8}T\d{6}Z-[0-9a-f]{4}(?:-\d+)?\.json|checkpoint-\d{4,18}-\d{6,18}\.pt)"
    r"\.(?P<pid>\d+)(?:\.[0-9a-f]{8})?\.part"
)
"""Names of half-written records and checkpoints, with the process that wrote them."""


@dataclass
class _Written:
    """A record that this process has written."""

    path: Path
    look: tuple[int, ...] | None
    """Of the file, just afterwards."""
    is_told: bool = False
    """Whether was said that others have changed it."""


_written: dict[Path, _Written] = {}
"""By the path that the record was to have."""


def check_writable(folder: Path, flag: str = "--results-dir") -> None:
    """Make `folder`, and make sure that files can be written there before hours are spent on what is to go into them.

    Raises `UsageError`.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        _remove_parts(folder)
    except OSError as error:
        raise UsageError(f"cannot write to {flag} {folder} ({error.strerror}): name another folder") from None


def record_path(folder: Path, run_id: str) -> Path:
    """Where the record of a run goes."""
    return folder / f"{run_id}.json"


def is_final(path: Path) -> bool:
    """Whether a record is there, and more than what is kept of a run while it runs."""
    record = _run_at(path)
    return record is not None and not _is_unfinished(record)


def keep_unfinished(folder: Path, record: Record) -> None:
    """Write what is known of a run that goes on, for the case that it is killed. `write_record` will replace it.

    Where it cannot be written, the run goes on without.
    """
    with suppress(OSError):
        _put(folder, record)


def write_record(folder: Path, record: AnyRecord) -> Path | None:
    """Write `<run_id>.json` whole or not at all; returns its path, or None where another rank has written it already.

    Raises `UsageError` where it cannot be written, for lack of room say, after having saved it among the system's
    temporary files.
    """
    try:
        return _put(folder, record)
    except OSError as error:
        path = record_path(folder, record.run_id)
        try:
            spare = _save_elsewhere(path.name, _encoded(record))
        except OSError:
            place = f"nor to {tempfile.gettempdir()}: make room and run again"
            raise UsageError(f"cannot write {path} ({error.strerror}), {place}") from None
        raise UsageError(f"cannot write {path} ({error.strerror}): saved as {spare}; make room and move it") from None


def _put(folder: Path, record: AnyRecord) -> Path | None:
    """Write a record where this process has written it before, or under a name that nobody has taken.

    None where another rank has ended the run there: what it says stays, unless this rank knows the run to its end.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = record_path(folder, record.run_id)
    known = _written.get(path)
    is_untouched = known is not None and known.look == _look(known.path)
    of_rank = None if is_untouched else _of_another_rank(path, record)
    if of_rank and not _is_unfinished(of_rank) and (of_rank.status == "completed" or not _is_completed(record)):
        return None
    if known and not is_untouched and not of_rank:
        _tell_once(known)
    where = path if of_rank else known.path if known else None
    if where and (where.is_file() or not os.path.lexists(where)):
        named = record.model_copy(update={"run_id": where.stem})
        write_whole(where, partial(_write_to, named))
    else:
        new = _put_as_new(folder, record)
        if new is None:
            return None
        where = new
    _written[path] = _Written(where, _look(where), known is not None and known.is_told)
    return where


def _put_as_new(folder: Path, record: AnyRecord) -> Path | None:
    """Under its own name or, where that is taken, under the next one, which its `run_id` is then, too. None where
    another rank has just ended the run there."""
    for run_id in (record.run_id, *(f"{record.run_id}-{number}" for number in range(2, 100))):
        named, path = record.model_copy(update={"run_id": run_id}), record_path(folder, run_id)
        try:
            write_whole(path, partial(_write_to, named), is_new=True)
            return path
        except FileExistsError:
            if run_id == record.run_id and _of_another_rank(path, record):  # which was quicker by a moment
                return _put(folder, record)
    raise FileExistsError(errno.EEXIST, "a hundred records of this name")


def _write_to(record: AnyRecord, file: BinaryIO) -> None:
    file.write(_encoded(record))


def _of_another_rank(path: Path, record: AnyRecord) -> Record | None:
    if not isinstance(record, Record) or record.world.processes == 1:
        return None
    return _run_at(path)


def _run_at(path: Path) -> Record | None:
    """The record of a run that is whole and stands under its own name; whatever else is there counts as none."""
    record = record_in(path, Record)
    return record if record and record.run_id == path.stem else None


def _is_unfinished(record: Record) -> bool:
    return record.failure is not None and record.failure.kind == "unfinished"


def _is_completed(record: AnyRecord) -> bool:
    return isinstance(record, Record) and record.status == "completed"


def _look(path: Path) -> tuple[int, ...] | None:
    try:
        seen = path.lstat()
    except OSError:
        return None
    return seen.st_ino, seen.st_size, seen.st_mtime_ns


def _tell_once(known: _Written) -> None:
    if not known.is_told:
        text = f"{known.path} was changed by others while the run went on: it is written anew, and nothing is lost"
        print(printable(text), file=sys.stderr, flush=True)
    known.is_told = True


def _save_elsewhere(name: str, content: bytes) -> Path:
    """In a folder that nobody else can enter, nor have prepared."""
    folder = Path(tempfile.mkdtemp(prefix="lab-record-"))
    try:
        write_whole(folder / name, lambda file: file.write(content))
    except OSError:
        folder.rmdir()
        raise
    return folder / name


def _remove_parts(folder: Path) -> None:
    """Take away what processes of this lab that were killed while they wrote have left: no write takes an hour."""
    for part in folder.iterdir():
        made = PART.fullmatch(part.name)
        if made and not Path("/proc", made["pid"]).exists():
            with suppress(OSError):
                if part.lstat().st_mtime < time() - 3600:
                    part.unlink()


def _encoded(record: AnyRecord) -> bytes:
    """As JSON. Names of files and hosts need not be text: what is none becomes a question mark."""
    try:
        return record.model_dump_json(indent=1).encode()
    except PydanticSerializationError:
        return json.dumps(record.model_dump(), indent=1, ensure_ascii=False).encode(errors="replace")
