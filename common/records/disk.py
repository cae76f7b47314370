"""Files that are read without waiting, and written whole or not at all; and records among them.

No file that this lab has not made is ever replaced or deleted. A run owns its record: it knows what it has written, and
asks the file only what another rank may have put there, so that a record that is cut off, locked or replaced while the
run goes on costs no epoch.
"""

import errno
import json
import os
import re
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from itertools import chain, count
from pathlib import Path
from time import time
from typing import BinaryIO, TypeVar

from pydantic_core import PydanticSerializationError

from common.errors import UsageError
from common.formats import printable
from common.records.fields import AnyRecord
from common.records.record import Record

AnyKind = TypeVar("AnyKind", bound=AnyRecord)
PART = re.compile(
    r"\.(?:(?:0[1-5]|fault)_.+[-_]\d{8}T\d{6}Z-[0-9a-f]{4}(?:-\d+)?\.json|checkpoint-\d{4,18}-\d{6,18}\.pt)"
    r"\.(?P<pid>\d+)(?:\.[0-9a-f]{8})?\.part"
)
"""Names of half-written records and checkpoints, with the process that wrote them."""
_written: dict[Path, tuple[Path | None, tuple[int, ...] | None, bool]] = {}
"""This process's records, by the path that each was to have: where it is, how its file looked just afterwards, and
whether others have changed it, which is said once."""


def record_in(path: Path, kind: type[AnyKind]) -> AnyKind | None:
    """The record of this kind in a file; None where it cannot be read, or is none."""
    try:
        return kind.model_validate_json(path.read_bytes()) if path.is_file() else None  # a FIFO would wait for ever
    except (OSError, ValueError):
        return None


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file's content, as `write_whole` does; a link stays, and its target is replaced. Raises OSError."""
    path = Path(os.path.realpath(path))
    if path.is_symlink():  # what no path resolves
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    write_whole(path, lambda file: file.write(content))


def write_whole(path: Path, write: Callable[[BinaryIO], object], is_new: bool = False) -> None:
    """Let `write` fill a file beside `path` that takes its place once it is on the disk. Raises OSError.

    A file or a link is replaced, anything else left alone; with `is_new`, whatever is there is.
    """
    if path.exists() and not path.is_file():
        raise FileExistsError(errno.EEXIST, "it is there and no file")
    part = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.part")
    made = open(part, "xb")  # noqa: SIM115 one that is there is not ours, and stays
    try:
        with made as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            with suppress(OSError):  # a file system without links, or the name is taken
                os.link(part, path)
                return
            if os.path.lexists(path):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def check_writable(folder: Path, flag: str = "--results-dir") -> None:
    """Make `folder`, and make sure that files can be written there before hours are spent on what is to go into them.

    Takes away what processes of this lab that were killed while they wrote have left. Raises `UsageError`.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        for part in folder.iterdir():
            made = PART.fullmatch(part.name)
            if made and not Path("/proc", made["pid"]).exists():
                with suppress(OSError):
                    if part.lstat().st_mtime < time() - 3600:  # no write takes an hour
                        part.unlink()
    except OSError as error:
        raise UsageError(f"cannot write to {flag} {folder} ({error.strerror}): name another folder") from None


def record_path(folder: Path, run_id: str) -> Path:
    """Where the record of a run goes."""
    return folder / f"{run_id}.json"


def is_final(path: Path) -> bool:
    """Whether a record is there, and more than what is kept of a run while it runs."""
    record = _run_at(path)
    return record is not None and not record.is_unfinished


def keep_unfinished(folder: Path, record: Record) -> None:
    """Write what is known of a run in case it is killed, if that can be written; `write_record` will replace it."""
    with suppress(OSError):
        _put(folder, record)


def write_record(folder: Path, record: AnyRecord) -> Path | None:
    """Write `<run_id>.json` whole or not at all; returns its path, or None where another rank has written it already.

    Raises `UsageError` where it cannot be written, say for lack of room, once it is saved among temporary files.
    """
    try:
        return _put(folder, record)
    except OSError as error:
        text, made = f"cannot write {record_path(folder, record.run_id)} ({error.strerror})", None
        try:
            made = Path(tempfile.mkdtemp(prefix="lab-record-"))  # which nobody else can enter, nor have prepared
            spare = _write(record_path(made, record.run_id), record)
        except OSError:
            if made:
                shutil.rmtree(made, ignore_errors=True)
            raise UsageError(f"{text}, nor to {tempfile.gettempdir()}: make room and run again") from None
        raise UsageError(f"{text}: saved as {spare}; make room and move it") from None


def _put(folder: Path, record: AnyRecord) -> Path | None:
    """Write a record where this process has written it before, or under the first name that nobody has taken.

    None where another rank has ended the run there: what it says stays, unless this rank knows the run to its end.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = record_path(folder, record.run_id)
    own, look, is_told = _written.get(path, (None, None, False))
    is_touched = look != _look(own or path)
    of_rank = _of_another_rank(path, record) if is_touched else None
    is_completed = isinstance(record, Record) and record.status == "completed"
    if of_rank and not of_rank.is_unfinished and (of_rank.status == "completed" or not is_completed):
        return None
    replaced = path if of_rank else own
    new_names = chain([path], (record_path(folder, f"{record.run_id}-{number}") for number in count(2)))
    for where in chain([replaced] if replaced else [], new_names):
        try:
            _write(where, record, is_new=where is not replaced)
            break
        except FileExistsError:
            if where is path and _of_another_rank(path, record):  # which was quicker by a moment
                return _put(folder, record)
    is_changed = bool(own) and is_touched and not of_rank
    if is_changed and not is_told:
        text = f"{own} was changed by others while the run went on: it is written anew, and nothing is lost"
        print(printable(text), file=sys.stderr, flush=True)
    _written[path] = where, _look(where), is_changed or is_told
    return where


def _write(path: Path, record: AnyRecord, is_new: bool = False) -> Path:
    """As JSON, with the file's name as its `run_id`; of names of files and hosts, what is no text becomes a `?`."""
    record = record.model_copy(update={"run_id": path.stem})
    try:
        content = record.model_dump_json(indent=1).encode()
    except PydanticSerializationError:
        content = json.dumps(record.model_dump(), indent=1, ensure_ascii=False).encode(errors="replace")
    write_whole(path, lambda file: file.write(content), is_new)
    return path


def _of_another_rank(path: Path, record: AnyRecord) -> Record | None:
    return _run_at(path) if isinstance(record, Record) and record.world.processes > 1 else None


def _run_at(path: Path) -> Record | None:
    """The record of a run that is whole and stands under its own name; whatever else is there counts as none."""
    record = record_in(path, Record)
    return record if record and record.run_id == path.stem else None


def _look(path: Path) -> tuple[int, ...] | None:
    with suppress(OSError):
        seen = path.lstat()
        return seen.st_ino, seen.st_size, seen.st_mtime_ns
    return None
