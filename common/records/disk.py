"""Records on the disk: whole or not at all, and never overwritten."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import time
from typing import BinaryIO

from pydantic_core import PydanticSerializationError

from common.errors import UsageError
from common.records.fault_record import FaultRecord
from common.records.record import EnvironmentRecord, Record

AnyRecord = Record | EnvironmentRecord | FaultRecord
PART = ".part"


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
    try:
        return (json.loads(path.read_bytes()).get("failure") or {}).get("kind") != "unfinished"
    except FileNotFoundError:
        return False


def keep_unfinished(folder: Path, record: Record) -> None:
    """Write what is known of a run that goes on, for the case that it is killed. `write_record` will replace it.

    Where it cannot be written, the run goes on without.
    """
    path = record_path(folder, record.run_id)
    content = _encoded(record)
    with suppress(OSError):
        if not is_final(path):  # of a rank that failed alone
            write_bytes(path, content)


def write_record(folder: Path, record: AnyRecord) -> Path | None:
    """Write `<run_id>.json` whole or not at all; returns its path, or None where another rank has written it already.

    Raises `UsageError` where it cannot be written, for lack of room say, after having saved it in the system's
    temporary folder.
    """
    path, content = record_path(folder, record.run_id), _encoded(record)
    if is_final(path):
        return None
    try:
        write_bytes(path, content)
    except OSError as error:
        spare = Path(tempfile.gettempdir()) / path.name
        try:
            write_bytes(spare, content)
        except OSError:
            raise UsageError(f"cannot write {path} ({error.strerror}), nor {spare}: make room and run again") from None
        raise UsageError(f"cannot write {path} ({error.strerror}): saved as {spare}; make room and move it") from None
    return path


def _remove_parts(folder: Path) -> None:
    """Take away what processes that were killed while they wrote have left: no write takes an hour."""
    for part in folder.glob(f".*{PART}"):
        with suppress(OSError):
            if part.stat().st_mtime < time() - 3600:
                part.unlink()


def _encoded(record: AnyRecord) -> bytes:
    """As JSON. Names of files and hosts need not be text: what is none becomes a question mark."""
    try:
        return record.model_dump_json(indent=1).encode()
    except PydanticSerializationError:
        return json.dumps(record.model_dump(), indent=1, ensure_ascii=False).encode(errors="replace")


def write_bytes(path: Path, content: bytes) -> None:
    """Let a file of this content take its place at `path`, as `write_whole` does. Raises OSError."""
    write_whole(path, lambda file: file.write(content))


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Let `write` fill a file beside `path` that takes its place once it is on the disk. Raises OSError.

    A link stays one: the file that it leads to is replaced. Anything that is there and no file is left alone.
    """
    path = path.resolve()
    if path.exists() and not path.is_file():
        raise FileExistsError(errno.EEXIST, "it is there and no file")
    part = path.with_name(f".{path.name}.{os.getpid()}{PART}")
    try:
        with open(part, "wb") as file:  # one that is there was left by a process of this number that was killed
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
