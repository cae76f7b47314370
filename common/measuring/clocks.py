"""Step clock: how long each optimizer step of an epoch took."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import TypeAlias

import torch

from common.machine.devices import Place

Mark: TypeAlias = float | torch.cuda.Event


@dataclass(frozen=True)
class EpochTimes:
    """Raw times of one epoch on one rank, in seconds."""

    steps: list[float]
    """From the end of a step to the end of the next, waiting for data included."""
    data_waits: list[float]
    """The part of each step that the host spent waiting for the loader."""
    host: float
    """The whole epoch by the host's clock."""


class StepClock:
    """Marks the end of every step, without ever waiting for a GPU in between.

    On GPUs a mark is a CUDA event, recorded into the stream of the first device and read when the epoch is over; a
    synchronisation per step would empty the queue of kernels and slow down what it measures. On CPU a mark is
    `perf_counter`. `start` and `finish` synchronise, once an epoch.
    """

    def __init__(self, place: Place) -> None:
        self._place = place

    def start(self) -> None:
        """The epoch begins."""
        self._place.synchronize()
        self._data_waits: list[float] = []
        self._steps: list[tuple[Mark, Mark]] = []
        self.paused_seconds = 0.0
        self._started = self._last = perf_counter()
        self._before = self._mark()

    def data_ready(self) -> None:
        """The loader has handed over the batch of this step."""
        self._data_waits.append(perf_counter() - self._last)

    def step_done(self) -> None:
        """The optimizer has stepped (on a GPU: the step's last kernel is in the queue)."""
        after = self._mark()
        self._steps.append((self._before, after))
        self._before = after
        self._last = perf_counter()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Between two steps: what happens inside belongs to no step and not to the epoch."""
        self._place.synchronize()
        began = perf_counter()
        yield
        self._last = perf_counter()
        self.paused_seconds += self._last - began
        self._before = self._mark()

    def finish(self) -> EpochTimes:
        """The epoch is over: wait for the devices and read the marks."""
        self._place.synchronize()
        host = perf_counter() - self._started - self.paused_seconds
        steps = [seconds_between(before, after) for before, after in self._steps]
        return EpochTimes(steps, self._data_waits, host)

    def _mark(self) -> Mark:
        return mark(self._place.first)


def mark(device: torch.device) -> Mark:
    """A point in time on `device`: of the host's clock on CPU, of the device's current stream on a GPU."""
    if device.type == "cpu":
        return perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record(torch.cuda.current_stream(device))
    return event


def seconds_between(before: Mark, after: Mark) -> float:
    """Seconds from one mark to another of the same device; both must have been reached (synchronise first)."""
    if isinstance(before, float):
        return after - before
    return before.elapsed_time(after) / 1000  # CUDA gives milliseconds
