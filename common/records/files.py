"""Files that are read without waiting, and written whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, TypeVar

from pydantic import BaseModel

AnyModel = TypeVar("AnyModel", bound=BaseModel)


def read_regular(path: Path) -> bytes:
    """What is in a file. Raises OSError, also for what is none: to open a FIFO would wait for ever."""
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "not a file")
    return path.read_bytes()


def record_in(path: Path, kind: type[AnyModel]) -> AnyModel | None:
    """The record of this kind in a file; None where it cannot be read, or is none."""
    try:
        return kind.model_validate_json(read_regular(path))
    except (OSError, ValueError):
        return None


def write_bytes(path: Path, content: bytes) -> None:
    """Let a file of this content take its place at `path`, as `write_whole` does; a link stays one, and the file that
    it leads to is replaced. Raises OSError."""
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
            _move_beside_others(part, path)
        else:
            os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _move_beside_others(part: Path, path: Path) -> None:
    """Raises FileExistsError where anything has that name."""
    try:
        os.link(part, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
        os.replace(part, path)
