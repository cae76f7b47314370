"""A folder of checkpoints belongs to one run at a time."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from common.errors import UsageError
from common.formats import printable
from common.machine.devices import Place
from common.machine.ranks import from_rank_0
from common.records.disk import check_writable

LOCK = ".in-use"
"""Locked, and not only there: a lock ends with its process, on whatever host, and is not inherited by workers."""
HELD = (errno.EACCES, errno.EAGAIN)

_holders: dict[Path, str] = {}
"""Runs of this process by the folder that each of them holds."""


def holder_of(folder: Path) -> str | None:
    """The run of this process that holds a folder."""
    return _holders.get(folder)


@contextmanager
def holding(folder: Path | None, run_id: str, place: Place) -> Iterator[None]:
    """While open, no other run can write checkpoints into `folder`. All ranks call it, rank 0 locks.

    Raises `UsageError`, on every rank, where another run does, and where the folder cannot be written to.
    """
    if folder is None:
        yield
        return
    lock: TextIO | None = None
    problem: UsageError | None = None
    if place.rank == 0:
        try:
            check_writable(folder, "--checkpoint-dir")
            lock = _lock(folder, run_id)
        except UsageError as error:
            problem = error
    problem = from_rank_0(problem)
    if problem:
        raise problem
    _holders[folder] = run_id
    try:
        yield
    finally:
        del _holders[folder]
        if lock:
            with suppress(OSError):
                os.unlink(folder / LOCK)  # before another run can lock it: that one looks whether it is still there
            lock.close()


def _lock(folder: Path, run_id: str) -> TextIO | None:
    """None where the file system knows no locks."""
    for _ in range(100):  # a run that ends meanwhile takes its lock away
        try:
            file = open(os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666), "r+")  # noqa: SIM115
        except OSError:
            return None
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            with file:
                if error.errno not in HELD:
                    return None
                who = printable(file.read(400)) or "another run"
            raise UsageError(
                f"--checkpoint-dir {folder} is in use by {who}: wait for its end, or name another folder"
            ) from None
        if _is_still_there(file, folder):
            file.truncate()
            file.write(f"{run_id} (process {os.getpid()} on {socket.gethostname()})")
            file.flush()
            return file
        file.close()
    return None


def _is_still_there(file: TextIO, folder: Path) -> bool:
    """Whether no run has ended, and taken its lock away, since this file was opened."""
    with suppress(OSError):
        return os.path.samestat(os.fstat(file.fileno()), os.stat(folder / LOCK))
    return False
