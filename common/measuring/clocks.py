"""Step clock: how long each optimizer step of an epoch took; and what the kernel counts of cores that others had."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from time import perf_counter
from typing import NamedTuple, TypeAlias, TypeVar

import torch

from common.machine.before_torch import current_cores, throttled_periods
from common.machine.devices import LocalDevices
from common.messages import Message, message

Mark: TypeAlias = float | torch.cuda.Event
StepInput = TypeVar("StepInput")

WORTH_TELLING = 0.25
"""Share of an epoch that others had. Two ranks on two quiet cores waited for 3 to 7 % of it, for their own loaders."""
STAT, SCHEDSTAT = Path("/proc/stat"), Path("/proc/thread-self/schedstat")


@dataclass(frozen=True)
class EpochTimes:
    """Raw times of one epoch on one rank, in seconds."""

    steps: list[float]
    """From the end of a step to the end of the next, waiting for data included."""
    data_waits: list[float]
    """The part of each step that the host spent waiting for the loader."""
    host: float
    """The whole epoch by the host's clock, without the pauses."""
    pauses: float
    """In none of the others: all that was done between two steps while the clock was `paused`."""


class StepClock:
    """Marks the end of every step, without ever waiting for a GPU in between.

    On GPUs a mark is a CUDA event, recorded into the stream of the first device and read when the epoch is over; a
    synchronisation per step would empty the queue of kernels and slow down what it measures. On CPU a mark is
    `perf_counter`. `time_steps` synchronises twice an epoch, at its start and at its end.

    While a GPU trains it lags behind the host, which launches kernels for later. A synchronisation ends the lag, and
    the next step would take longer. So the clock measures the lag, and keeps the GPU busy for as long.
    """

    times: EpochTimes

    def __init__(self, devices: LocalDevices) -> None:
        self._local_devices = devices
        self._lag_seconds = 0.0

    def settle(self) -> None:
        """Steps that nobody measures are over: wait for the devices, and remember how far they lag behind."""
        before = perf_counter()
        self._local_devices.synchronize()
        self._lag_seconds = perf_counter() - before

    def time_steps(
        self, steps: Iterable[StepInput], after_step: Callable[[StepInput], object] = lambda _: None
    ) -> Iterator[StepInput]:
        """Hand on what each step works on, and time it: the seconds are in `times` once the last step is over.

        A step lasts from the end of the one before to the moment when the next one is asked for. What takes time in
        `after_step` belongs in `paused`.
        """
        self._local_devices.synchronize()
        data_waits: list[float] = []
        ends: list[tuple[Mark, Mark]] = []
        self._held_up: list[tuple[Mark, Mark]] = []
        self._pauses = 0.0
        started = self._last = perf_counter()
        self._before = self._lagging()
        for step in steps:
            data_waits.append(perf_counter() - self._last)
            yield step
            after = mark(self._local_devices.device)  # on a GPU, the step's last kernel is in the queue by now
            ends.append((self._before, after))
            self._before, self._last = after, perf_counter()
            after_step(step)
        self.settle()
        host = perf_counter() - started - self._pauses
        host -= sum(seconds_between(*pair) for pair in self._held_up)
        self.times = EpochTimes([seconds_between(*pair) for pair in ends], data_waits, host, self._pauses)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Between two steps: what happens inside belongs to no step and not to the epoch."""
        self.settle()
        began = perf_counter()
        yield
        self._last = perf_counter()
        self._pauses += self._last - began
        self._before = self._lagging()

    def _lagging(self) -> Mark:
        """A mark on the first device, after work that takes as long as the device lagged behind the host before."""
        device = self._local_devices.device
        before = after = mark(device)
        if self._local_devices.kind == "cuda" and self._lag_seconds:
            gpu_sleep(device, self._lag_seconds)
            after = mark(device)
            self._held_up.append((before, after))
        return after


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


def gpu_sleep(device: torch.device, seconds: float) -> None:
    """Launch a kernel on a GPU that does nothing for about so long; returns at once."""
    with torch.cuda.device(device):
        torch.cuda._sleep(round(seconds * _cycles_per_second(device)))


@cache
def _cycles_per_second(device: torch.device) -> float:
    """How fast the counter runs that `torch.cuda._sleep` waits on; read off a wait of some 5 ms, after another one."""
    cycles = 10_000_000
    torch.cuda._sleep(cycles)
    before = mark(device)
    torch.cuda._sleep(cycles)
    after = mark(device)
    torch.cuda.synchronize(device)
    return cycles / seconds_between(before, after)


class CoreLosses(NamedTuple):
    """Between two moments, on this rank: as in `RankTrace`, but None where the system does not count it."""

    core_wait_seconds: float | None
    throttled_periods: int | None
    steal_seconds: float | None
    busy_core_seconds: float | None

    def warnings(self, epoch_seconds: float, quota: float | None, oversubscribed: bool) -> Iterator[Message]:
        """What of it is worth telling about an epoch of such length."""
        share = (self.core_wait_seconds or 0.0) / max(epoch_seconds, 1e-9)
        if self.throttled_periods and share > WORTH_TELLING:
            yield message(
                "waited for a core {share:.0%} of the epoch: the control group allows {quota:.2g} cores' worth of "
                "time; raise that limit (docker run --cpus, Kubernetes' limits.cpu), and repeat",
                share=share,
                quota=quota or 0.0,
            )
        elif share > WORTH_TELLING and not oversubscribed:
            yield message(
                "waited for a core {share:.0%} of the epoch: other programs use the cores, too; end them, and repeat",
                share=share,
            )
        stolen = self.steal_seconds or 0.0
        share = stolen / max(stolen + (self.busy_core_seconds or 0.0), 1e-9)
        if share > WORTH_TELLING:
            yield message(
                "{share:.0%} of the CPU time that this epoch wanted went to other virtual machines (steal): measure on "
                "a host of your own, or on dedicated cores",
                share=share,
            )


class CoreWait:
    """Counts for the thread that makes it, and for those that it waits for."""

    of_threads = 0.0  # seconds that those waited, in all: of threads that ran at once, the longest wait

    def __init__(self) -> None:
        self._before = _counters()

    def losses(self) -> CoreLosses:
        """Since the watch was made."""
        pairs = zip(self._before, _counters(), strict=True)
        return CoreLosses._make(None if old is None or new is None else round(new - old, 6) for old, new in pairs)


def _counters() -> CoreLosses:
    """What the kernel has counted so far."""
    waited = None if (own := core_wait()) is None else own + CoreWait.of_threads
    return CoreLosses(waited, throttled_periods(), *_core_times())


def core_wait() -> float | None:
    """Seconds for which this thread has waited for a core since it started; None where the system does not count it."""
    with suppress(OSError, IndexError, ValueError):
        return int(SCHEDSTAT.read_text().split()[1]) / 1e9
    return None


def _core_times() -> tuple[float | None, float | None]:
    """Seconds stolen from the cores of this process since the system began, and seconds in which they worked: proc(5),
    /proc/stat. None where one of them has no line there: a container may number its cores anew."""
    ticks = os.sysconf("SC_CLK_TCK")
    with suppress(OSError, LookupError, ValueError):
        lines = (line.split() for line in STAT.read_text().splitlines() if line.startswith("cpu"))
        cores = {name: [int(time) / ticks for time in times] for name, *times in lines}
        own = [cores[f"cpu{core}"] for core in current_cores()]
        return sum(times[7] for times in own), sum(sum(times[:3]) + sum(times[5:7]) for times in own)
    return None, None
