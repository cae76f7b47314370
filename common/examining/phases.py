"""Where a step goes: extra steps after the measured epochs, timed phase by phase, and the bytes each phase moves."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.profiler import record_function

from common.machine.devices import LocalDevices
from common.measuring.clocks import Mark, mark, seconds_between
from common.records import DdpOptions, PhaseName, PhaseOrStep, RankProfile
from common.training.batch import Batch, Nested, tensors_of
from common.training.data_parallel import EmulatedDataParallel
from common.training.distributed import gradient_bytes
from common.training.training import Training, has_exchange

# Phases that happen inside another one, whose own time is what they leave of it.
INSIDE: dict[PhaseOrStep, PhaseName] = {
    "scatter": "forward",
    "replicate": "forward",
    "gather": "forward",
    "reduce": "backward",
    "exchange": "backward",
}


class Moment(NamedTuple):
    """A point in time, on the device and on the host. On CPU devices the two are one clock."""

    mark: Mark
    host: float


class Span(NamedTuple):
    """A phase of one step, or the whole of it."""

    name: PhaseOrStep
    began: Moment
    ended: Moment


class PhaseClock:
    """Marks where each phase of a step begins, on the device that holds the model and on the host.

    Marks are read when all steps are over, so that on a GPU no phase waits for one before it to finish. Every phase is
    a named range in a trace, too.
    """

    def __init__(self, devices: LocalDevices) -> None:
        self._local_devices = devices
        self._steps: list[list[Span]] = []
        self._replicas: list[list[tuple[int, Mark, Mark]]] = []
        self._open: tuple[PhaseName, Moment, record_function] | None = None
        self._last_gradient: Mark | None = None

    @contextmanager
    def step(self) -> Iterator[None]:
        """One whole step, from the wait for its data to the end of its last phase."""
        self._steps.append([])
        self._replicas.append([])
        self._last_gradient = None
        with record_function("step"):
            began = self._now()
            yield
            ended = self._close() or self._now()
        self._steps[-1].append(Span("step", began, ended))

    def take_step(self, training: Training, upcoming: Iterator[tuple[Batch, ...]]) -> tuple[Batch, ...]:
        """One step of a script that waits for its data first; returns its batches."""
        with self.step():
            self.phase("data wait")
            batches = next(upcoming)
            training.step(batches, self.phase)
        return batches

    def phase(self, name: PhaseName) -> None:
        """The phase `name` of the step that is under way begins, and the one before it ends."""
        now = self._close() or self._now()
        open_range = record_function(name)
        open_range.__enter__()
        self._open = (name, now, open_range)

    def timed(self, name: PhaseName, function: Callable) -> Callable:
        """`function`, as a phase within another one."""

        def call(*args, **kwargs):
            with record_function(name):
                began = self._now()
                result = function(*args, **kwargs)
                self._steps[-1].append(Span(name, began, self._now()))
            return result

        return call

    def gradient_ready(self, _: Tensor) -> None:
        """The last gradient of this process is complete: its own backward pass is done."""
        self._last_gradient = mark(self._local_devices.device)

    def replica_worked(self, number: int, before: Mark, after: Mark) -> None:
        """Replica `number` has gone forward or backward from one mark (of its own device) to the other."""
        self._replicas[-1].append((number, before, after))

    def read(self, rank: int) -> RankProfile:
        """All steps but the first, which settles what the instruments have unsettled."""
        self._local_devices.synchronize()
        seconds = self._by_phase(lambda span: seconds_between(span.began.mark, span.ended.mark))
        replicas = sorted({number for step in self._replicas for number, _, _ in step})
        return RankProfile(
            rank=rank,
            step_seconds=seconds["step"],
            phases={name: times for name, times in seconds.items() if name != "step"},
            replica_seconds=[
                [round(sum(seconds_between(b, a) for n, b, a in step if n == number), 7) for step in self._replicas[1:]]
                for number in replicas
            ],
        )

    def host_seconds(self) -> dict[PhaseOrStep, list[float]]:
        """By phase, and for the whole `step`: the time that the host was in it, of all steps but the first."""
        return self._by_phase(lambda span: span.ended.host - span.began.host)

    def _now(self) -> Moment:
        return Moment(mark(self._local_devices.device), perf_counter())

    def _close(self) -> Moment | None:
        """End the phase that is open; the moment at which it ended."""
        if self._open is None:
            return None
        name, began, open_range = self._open
        self._open = None
        ended = self._now()
        open_range.__exit__(None, None, None)
        self._steps[-1].append(Span(name, began, ended))
        if name == "backward" and self._last_gradient is not None:
            self._steps[-1].append(Span("exchange", Moment(self._last_gradient, ended.host), ended))
        return ended

    def _by_phase(self, seconds: Callable[[Span], float]) -> dict[PhaseOrStep, list[float]]:
        """Of all steps but the first: seconds of each phase, without those of the phases inside it."""
        phases: dict[PhaseOrStep, list[float]] = {}
        for step in self._steps[1:]:
            own: dict[PhaseOrStep, float] = defaultdict(float)
            for span in step:
                own[span.name] += seconds(span)
                if span.name in INSIDE:
                    own[INSIDE[span.name]] -= seconds(span)
            for name, value in own.items():
                phases.setdefault(name, []).append(round(max(value, 0.0), 7))
        return phases


def bytes_moved(
    model: nn.Module, batches: Sequence[Batch], device: torch.device, ddp: DdpOptions | None
) -> dict[PhaseName, int]:
    """Bytes that a step moves between devices, by phase (`ProfileRecord.bytes_moved` in the record).

    `device` is the first one. What DataParallel gathers is found out by a forward pass.
    """
    module = getattr(model, "module", model)
    gradients = gradient_bytes(module)
    if has_exchange(model):
        if ddp.comm_hook == "powersgd":  # how much it sends it alone knows
            return {}
        return {"exchange": gradients // (1 if ddp.comm_hook == "none" else 2)}
    if not isinstance(model, nn.DataParallel):
        return {}
    others = sum(device != model.device_ids[0] for device in model.device_ids)  # on one GPU, nothing leaves it
    shares = others / len(model.device_ids)
    held = sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers()))
    emulated = isinstance(model, EmulatedDataParallel)  # cores share one memory: scattering hands out views
    with torch.no_grad():
        outputs = model(batches[0].to(device)[0])
    return {
        "scatter": 0 if emulated else round(sum(_bytes(batch.inputs) for batch in batches) * shares),
        "replicate": held * others * len(batches),  # DataParallel knows nothing of accumulation
        "gather": round(_bytes(outputs) * len(batches) * shares),
        "reduce": gradients * others * len(batches),
    }


def _bytes(value: Nested) -> int:
    return sum(tensor.nbytes for tensor in tensors_of(value))
