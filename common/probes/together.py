"""What devices cost each other: the same training-like work on one device by itself, and on all of them at once.

Nothing is exchanged. What is slower together is what they share: caches and memory (CPU cores), power and the host's
processors (GPUs). No number of single parts shows it, and a prediction from one device needs it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from statistics import median
from time import perf_counter

import torch
from torch import nn

from common.machine.devices import LocalDevices
from common.probes.compute import probed_device
from common.probes.processes import run_in_processes
from common.records import Together

PASSES, SETTLING = 15, 3
SAMPLES = {"cpu": (8, 56), "cuda": (64, 56)}
"""Images and their height and width."""

Work = Callable[[LocalDevices], Callable[[], object]]
"""Makes, on a device, a pass that can be called."""


def measure_together(workers: int, limit_seconds: float, work: Work | None = None) -> Together:
    """As many workers as there are devices, one process each."""
    probe = partial(_probe, get_context("forkserver").Barrier(workers), work or small_layers)
    results = run_in_processes(probe, workers, limit_seconds)
    return Together(
        workers=workers,
        alone_seconds=results[0]["alone"],
        together_seconds=max(of_worker["together"] for of_worker in results),
    )


def _probe(everybody: Barrier, make: Work, rank: int) -> dict[str, float]:
    """Process 0 works by itself first and last, while the others wait; in between all work at once."""
    work = make(probed_device(rank))
    everybody.wait()
    before = _seconds(work) if rank == 0 else []
    everybody.wait()
    together = _seconds(work)
    everybody.wait()
    after = _seconds(work) if rank == 0 else []
    return {"alone": median(before + after or together), "together": median(together)}


def small_layers(devices: LocalDevices) -> Callable[[], object]:
    """Forward, backward and update of a few layers of the kinds that residual networks are made of."""
    samples, size = SAMPLES[devices.kind]
    layers = [nn.Conv2d(64, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Conv2d(64, 128, 3, stride=2, bias=False), nn.BatchNorm2d(128), nn.ReLU())
    model.to(devices.device)
    images = torch.randn(samples, 64, size, size, device=devices.device)
    weights = list(model.parameters())
    momenta = [torch.zeros_like(weight) for weight in weights]

    def step() -> None:
        model(images).square().mean().backward()
        update(weights, momenta)
        devices.synchronize()

    return step


@torch.no_grad()
def update(weights: list[nn.Parameter], momenta: list[torch.Tensor]) -> None:
    """SGD with momentum by hand: torch's own imports its compiler first, for seconds in each of these processes."""
    for weight, momentum in zip(weights, momenta, strict=True):
        momentum.mul_(0.9).add_(weight.grad)
        weight.sub_(momentum, alpha=1e-3)
        weight.grad = None


def _seconds(work: Callable[[], object]) -> list[float]:
    ends = [perf_counter()]
    for _ in range(SETTLING + PASSES):
        work()
        ends.append(perf_counter())
    return [end - begin for begin, end in pairwise(ends)][SETTLING:]
