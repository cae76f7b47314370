"""Records on the disk: whole or not at all, and never overwritten."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from common.errors import UsageError


def check_writable(folder: Path) -> None:
    """Make `folder`, and make sure that a record can be written there before hours are spent on one.

    Raises `UsageError`.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(f"cannot write to --results-dir {folder} ({error.strerror}): name another folder") from None


def write_record(folder: Path, run_id: str, text: str) -> Path | None:
    """Write `<run_id>.json` whole or not at all; returns its path, or None where another rank has written it already.

    Raises `UsageError` where it cannot be written, for lack of room say, after having saved it in the system's
    temporary folder.
    """
    path = folder / f"{run_id}.json"
    if path.exists():
        return None
    try:
        write_whole(path, lambda file: file.write(text.encode()))
    except OSError as error:
        spare = Path(tempfile.gettempdir()) / path.name
        try:
            write_whole(spare, lambda file: file.write(text.encode()))
        except OSError:
            raise UsageError(f"cannot write {path} ({error.strerror}), nor {spare}: make room and run again") from None
        raise UsageError(f"cannot write {path} ({error.strerror}): saved as {spare}; make room and move it") from None
    return path


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Let `write` fill a file beside `path` that takes its place once it is on the disk. Raises OSError."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(part, "xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
