"""The process that loader workers and probes are forked from: it imports torch once for all of them.

This module imports no torch, so that it can be called before torch is.
"""

from __future__ import annotations

import multiprocessing
from multiprocessing import forkserver
from pathlib import Path


def prepare_workers() -> None:
    """On a host with NVIDIA's driver: begin the import of torch for the loader's workers, beside this process's own.

    A process that holds CUDA must not fork, so that each worker would start anew and import torch, for seconds. On CPU
    cores workers are forked from this process and need nothing.
    """
    if Path("/dev/nvidiactl").exists():
        start_fork_server()


def start_fork_server() -> None:
    """Start the process that `multiprocessing` forks from, with torch imported. Harmless if called twice."""
    multiprocessing.set_forkserver_preload(["torch"])
    forkserver.ensure_running()
