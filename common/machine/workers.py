"""The process that loader workers and probes are forked from: it imports torch once for all of them.

This module imports no torch, so that it can be called before torch is.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import threading
from multiprocessing import connection, forkserver, queues
from pathlib import Path

from common.command_line.terminal import tell
from common.errors import UsageError
from common.machine.capacity import give_cores_back  # it reads the cores of this process, before torch can take any


def prepare_workers() -> None:
    """On a host with NVIDIA's driver: begin the import of torch for the loader's workers, beside this process's own.

    A process that holds CUDA must not fork, so that each worker would start anew and import torch, for seconds. On CPU
    cores workers are forked from this process and need nothing.
    """
    if Path("/dev/nvidiactl").exists():
        start_fork_server()


def start_fork_server() -> None:
    """Start the process that `multiprocessing` forks from, with torch imported. Harmless if called twice.

    Raises `UsageError` where the folder of temporary files has no place for its socket, whose name has a limit.
    """
    multiprocessing.set_forkserver_preload(["torch"])
    try:
        forkserver.ensure_running()
    except OSError as error:
        raise UsageError(
            f"cannot start processes from {tempfile.gettempdir()} ({error}): set TMPDIR to a short path, such as /tmp"
        ) from None


def begin_worker(worker: int) -> None:
    """For a loader's worker: it ends when the process that it works for has ended, be it by SIGKILL, and when it cannot
    hand over what it has loaded.

    torch's own watch looks at the worker's parent, which is the process that it was forked from. That one lives until
    its last child has gone, and so they would keep each other alive for ever. And what a queue cannot send (/dev/shm or
    the table of open files is full) is dropped with a traceback, while the training waits for it without end.
    """
    give_cores_back()  # of other kinds than the devices', too
    parent = multiprocessing.parent_process()
    if parent:
        threading.Thread(target=_end_after, args=[parent.sentinel], daemon=True).start()
        # The standard library's hook for this, which its own executors override.
        queues.Queue._on_queue_feeder_error = staticmethod(_end_unsent)  # type: ignore[attr-defined]


def _end_unsent(error: Exception, unsent: object) -> None:
    tell(f"a loader worker cannot hand over a batch: {error}")
    os._exit(1)


def _end_after(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)
