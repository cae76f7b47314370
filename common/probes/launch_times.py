"""How long the host needs to start small work on a device: from one thread, from several, from several processes.

Threads of one Python process share the interpreter's lock, processes do not: where a launch takes longer in threads,
that is the lock. And a thread that has just started knows nothing yet: cuDNN's plans of convolutions, for one, are kept
per thread (pytorch#103939), so that the first convolution of a thread costs far more than its second.
`nn.DataParallel` starts new threads in every step.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from statistics import median
from time import perf_counter

import torch
from torch.nn import functional

from common.machine.capacity import alike_cores, stay_on
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
    return LaunchTimes(
        workers=workers,
        alone_seconds=first["alone"],
        threads_seconds=first["threads"],
        processes_seconds=median(found["processes"] for found in (first, *others)),
        convolution_seconds=first["convolution"],
        first_convolution_seconds=first["first convolution"],
    )


def _probe(workers: int, everybody: Barrier, rank: int) -> dict[str, float]:
    """Process 0 measures by itself first, while the others wait for it; then all launch at once."""
    found: dict[str, float] = {}
    if rank == 0:
        found["alone"] = _launch_seconds(0)
        found["threads"] = _in_threads(workers)
        found["convolution"], found["first convolution"] = _convolution_seconds()
    found["processes"] = _launch_seconds(rank, everybody.wait)
    return found


def _in_threads(workers: int) -> float:
    start, found = threading.Barrier(workers), [0.0] * workers

    def worker(number: int) -> None:
        found[number] = _launch_seconds(number, start.wait)

    threads = [threading.Thread(target=worker, args=(number,)) for number in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return median(found)


def _launch_seconds(number: int, start: Callable[[], object] = lambda: None) -> float:
    """Seconds of one launch of an addition of eight numbers; `start` is called when everything is warm."""
    device = _device(number)
    small = torch.zeros(8, device=device)
    chunks = []
    for chunk in range(1 + CHUNKS):
        if chunk == 1:
            start()
        began = perf_counter()
        for _ in range(LAUNCHES):
            small.add_(1)
        chunks.append((perf_counter() - began) / LAUNCHES)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    return median(chunks[1:])


def _convolution_seconds() -> tuple[float, float]:
    """Seconds to launch a convolution in a thread that has launched it before, and in a new thread."""
    device = _device(0)
    images, weights = torch.zeros(1, 16, 14, 14, device=device), torch.zeros(16, 16, 3, 3, device=device)
    found: list[float] = []

    def launch() -> None:
        began = perf_counter()
        functional.conv2d(images, weights, padding=1)
        found.append(perf_counter() - began)

    def in_new_thread() -> None:
        torch.set_num_threads(1)
        launch()

    for _ in range(NEW_THREADS):
        launch()
    known = median(found[1:])
    found.clear()
    for _ in range(NEW_THREADS):
        thread = threading.Thread(target=in_new_thread)
        thread.start()
        thread.join()
    return known, median(found)


def _device(number: int) -> torch.device:
    torch.set_num_threads(1)
    if not torch.cuda.is_available():
        stay_on(1)
        return torch.device("cpu")
    device = torch.device("cuda", number % torch.cuda.device_count())
    torch.cuda.set_device(device)
    return device
