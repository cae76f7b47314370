"""The process that loader workers and probes are forked from: it imports torch once for all of them.

This module imports no torch, so that it can be called before torch is.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import threading
from multiprocessing import connection, forkserver
from multiprocessing.queues import Queue
from pathlib import Path

import common.machine.capacity  # noqa: F401 (it reads the cores of this process, before torch can take any away)
from common.errors import UsageError


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


def end_with_parent(worker: int) -> None:
    """For a loader's worker: it ends when the process that it works for has ended, be it by SIGKILL.

    torch's own watch looks at the worker's parent, which is the process that it was forked from. That one lives until
    its last child has gone, and so they would keep each other alive for ever.
    """
    parent = multiprocessing.parent_process()
    if parent:
        threading.Thread(target=_end_after, args=[parent.sentinel], daemon=True).start()
    Queue._on_queue_feeder_error = staticmethod(_give_up)  # type: ignore[attr-defined]


def _give_up(error: Exception, batch: object) -> None:
    """A batch that cannot be sent is waited for without end, unless the worker dies of it."""
    print(f"a loader worker ends, for it cannot send its batch: {error}", file=sys.stderr, flush=True)
    os._exit(1)


def _end_after(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)
