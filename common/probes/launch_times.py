"""How long the host needs to start small work on a device: from one thread, from several, from several processes.

Threads of one Python process share the interpreter's lock, processes do not: where a launch takes longer in threads,
that is the lock. And a thread that has just started knows nothing yet: cuDNN's plans of convolutions, for one, are kept
per thread (pytorch#103939), so that the first convolution of a thread costs far more than its second.
`nn.DataParallel` starts new threads in every step.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from statistics import median
from time import perf_counter

import torch
from torch.nn import functional

from common.machine.capacity import alike_cores
from common.probes.compute import probed_device
from common.probes.processes import run_in_processes
from common.records import LaunchTimes

LAUNCHES, CHUNKS = 1000, 7
"""In a row, and how often; the median chunk counts, the first one warms up."""
NEW_THREADS = 9


def measure_launches(limit_seconds: float) -> LaunchTimes:
    """All of it. As many launch at once as there are devices: two at least, of CPU cores four at most."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    workers = max(2, gpus or min(alike_cores(), 4))
    probe = partial(_probe, workers, get_context("forkserver").Barrier(workers))
    first, *others = run_in_processes(probe, workers, limit_seconds)
    processes = median(found.pop("processes_seconds") for found in (first, *others))
    return LaunchTimes(workers=workers, processes_seconds=processes, **first)


def _probe(workers: int, everybody: Barrier, rank: int) -> dict[str, float]:
    """Process 0 measures by itself first, while the others wait for it; then all launch at once."""
    found: dict[str, float] = {}
    if rank == 0:
        found["alone_seconds"] = _launch_seconds(0)
        found["threads_seconds"] = _in_threads(workers)
        found["convolution_seconds"], found["first_convolution_seconds"] = _convolution_seconds()
    found["processes_seconds"] = _launch_seconds(rank, everybody.wait)
    return found


def _in_threads(workers: int) -> float:
    start = threading.Barrier(workers)
    with ThreadPoolExecutor(workers) as threads:
        return median(threads.map(lambda number: _launch_seconds(number, start.wait), range(workers)))


def _launch_seconds(number: int, start: Callable[[], object] = lambda: None) -> float:
    """Seconds of one launch of an addition of eight numbers; `start` is called when everything is warm."""
    devices = probed_device(number)
    small = torch.zeros(8, device=devices.device)
    chunks = []
    for chunk in range(1 + CHUNKS):
        if chunk == 1:
            start()
        began = perf_counter()
        for _ in range(LAUNCHES):
            small.add_(1)
        chunks.append((perf_counter() - began) / LAUNCHES)
        devices.synchronize()
    return median(chunks[1:])


def _convolution_seconds() -> tuple[float, float]:
    """Seconds to launch a convolution in a thread that has launched it before, and in a new thread."""
    device = probed_device(0).device
    images, weights = torch.zeros(1, 16, 14, 14, device=device), torch.zeros(16, 16, 3, 3, device=device)

    def launch() -> float:
        torch.set_num_threads(1)
        began = perf_counter()
        functional.conv2d(images, weights, padding=1)
        return perf_counter() - began

    def launch_in_new_thread() -> float:
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(launch).result()

    known = median([launch() for _ in range(1 + NEW_THREADS)][1:])
    return known, median(launch_in_new_thread() for _ in range(NEW_THREADS))
