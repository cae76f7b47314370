"""What devices cost each other: launches, and training-like work, on one of them by itself and on all at once.

Launches are small work that the host starts. Threads of one Python process share the interpreter's lock, processes do
not: where a launch takes longer in threads, that is the lock. And a thread that has just started knows nothing yet:
cuDNN's plans of convolutions, for one, are kept per thread (pytorch#103939), so that the first convolution of a thread
costs far more than its second. `nn.DataParallel` starts new threads in every step.

Training-like work exchanges nothing. What is slower together is what devices share: caches and memory (CPU cores),
power and the host's processors (GPUs). No number of single parts shows it, and a prediction from one device needs it.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from statistics import median
from time import perf_counter

import torch
from torch import nn
from torch.nn import functional

from common.machine.devices import LocalDevices
from common.probes.processes import probed_device, ranks_here, run_in_processes
from common.records import LaunchTimes, Together

LAUNCHES, CHUNKS = 1000, 7
"""In a row, and how often; the median chunk counts, the first one warms up."""
NEW_THREADS = 9
PASSES, SETTLING = 15, 3
SAMPLES = {"cpu": (8, 56), "cuda": (64, 56)}
"""Images and their height and width."""
Work = Callable[[LocalDevices], Callable[[], object]]
"""Makes, on a device, a pass that can be called."""


def measure_launches(limit_seconds: float) -> LaunchTimes:
    """Launches from one thread, from several, from several processes: as many at once as there are devices, two at
    least, of CPU cores four at most."""
    workers = max(2, ranks_here(most_cores=4))
    probe = partial(_launch_probe, workers, get_context("forkserver").Barrier(workers))
    results = run_in_processes(probe, workers, limit_seconds)
    processes = median(of_process.pop("processes_seconds") for of_process in results)
    return LaunchTimes(workers=workers, processes_seconds=processes, **results[0])


def _launch_probe(workers: int, everybody: Barrier, rank: int) -> dict[str, float]:
    """Process 0 measures by itself first, while the others wait for it; then all launch at once."""
    seconds: dict[str, float] = {}
    if rank == 0:
        seconds["alone_seconds"] = _launch_seconds(0)
        seconds["threads_seconds"] = _in_threads(workers)
        seconds["convolution_seconds"], seconds["first_convolution_seconds"] = _convolution_seconds()
    seconds["processes_seconds"] = _launch_seconds(rank, everybody.wait)
    return seconds


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
        with ThreadPoolExecutor(1) as thread:  # has ended before the next one begins, which it would slow down
            return thread.submit(launch).result()

    known = [launch() for _ in range(1 + NEW_THREADS)][1:]
    return median(known), median(launch_in_new_thread() for _ in range(NEW_THREADS))


def measure_together(workers: int, limit_seconds: float, work: Work | None = None) -> Together:
    """As many workers as there are devices, one process each."""
    probe = partial(_training_probe, get_context("forkserver").Barrier(workers), work or small_layers)
    alone, together = zip(*run_in_processes(probe, workers, limit_seconds), strict=True)
    return Together(workers=workers, alone_seconds=alone[0], together_seconds=max(together))


def _training_probe(everybody: Barrier, make: Work, rank: int) -> tuple[float, float]:
    """Process 0 works by itself first and last, while the others wait; in between all work at once.

    Seconds of a pass, alone (of process 0) and together."""
    work = make(probed_device(rank))
    alone = _seconds(work, everybody, takes_part=rank == 0)
    together = _seconds(work, everybody)
    alone += _seconds(work, everybody, takes_part=rank == 0)
    return median(alone or together), median(together)


def _seconds(work: Callable[[], object], everybody: Barrier, takes_part: bool = True) -> list[float]:
    everybody.wait()
    ends = [perf_counter()]
    for _ in range(SETTLING + PASSES if takes_part else 0):
        work()
        ends.append(perf_counter())
    return [end - begin for begin, end in pairwise(ends)][SETTLING:]


def small_layers(devices: LocalDevices) -> Callable[[], object]:
    """Forward, backward and update of a few layers of the kinds that residual networks are made of."""
    samples, size = SAMPLES[devices.kind]
    layers = [nn.Conv2d(64, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Conv2d(64, 128, 3, stride=2, bias=False), nn.BatchNorm2d(128), nn.ReLU())
    model.to(devices.device)
    images = torch.randn(samples, 64, size, size, device=devices.device)
    momenta = {weight: torch.zeros_like(weight) for weight in model.parameters()}

    def step() -> None:
        model(images).square().mean().backward()
        # SGD with momentum by hand: torch's own imports its compiler first, for seconds in each of these processes.
        with torch.no_grad():
            for weight, momentum in momenta.items():
                momentum.mul_(0.9).add_(weight.grad)
                weight.sub_(momentum, alpha=1e-3)
                weight.grad = None
        devices.synchronize()

    return step
