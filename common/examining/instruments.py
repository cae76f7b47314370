"""What watches a step from inside, without a change to torch or to the model: hooks that a clock hears of, and torch's
profiler, whose trace shows when the device works (to look into with Perfetto)."""

import json
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.nn.parallel import comm
from torch.utils.hooks import RemovableHandle

from common.examining.timed_steps import Experiment, NotMeasuredError, PhaseClock
from common.machine.devices import LocalDevices, barrier
from common.measuring.clocks import Mark, mark
from common.records import PhaseName, PhaseOrStep
from common.training.batch import Nested, tensors_of
from common.training.data_parallel import EmulatedDataParallel, Shard
from common.training.training import Training

PROFILED_STEPS = 4
RANGES = {"step", *get_args(PhaseName)}
WORK = {"kernel", "gpu_memcpy", "gpu_memset"}
LAUNCHES = {"cuda_runtime", "cuda_driver"}
"""Categories of a trace: what a device does, and the calls by which the host asks for it."""
OWN_NCCL = {"replicate", "reduce", "scatter", "gather"}
"""Phases of DataParallel, which send by NCCL as well."""

Interval = tuple[float, float]


@contextmanager
def instruments(
    model: nn.Module, clock: PhaseClock, last_gradients: Sequence[Tensor] = (), *, replicas: bool = True
) -> Iterator[None]:
    """While open, `clock` hears of what goes on inside a wrapped model; a bare one has nothing inside.

    Under DataParallel it hears of the stages, and of each of `replicas`, which takes hooks on every weight of each.
    Under DDP it hears of `last_gradients` alone, the end of `readiness`: a hook on every parameter takes the
    interpreter a hundred times during the backward pass, and makes it longer by a fifth on quick GPUs.
    """
    with ExitStack() as watching:
        for parameter in last_gradients:
            watching.enter_context(parameter.register_post_accumulate_grad_hook(clock.gradient_ready))
        if isinstance(model, nn.DataParallel):
            _time_stages(model, clock, watching)
            if replicas:
                _watch_replicas(model, clock, watching)
        yield


@contextmanager
def readiness(model: nn.Module) -> Iterator[list[Tensor]]:
    """The parameters of `model`, in the order in which backward passes inside the `with` complete their gradients."""
    order: list[Tensor] = []
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    with hooked(parameter.register_post_accumulate_grad_hook(order.append) for parameter in trained):
        yield order


@contextmanager
def hooked(handles: Iterable[RemovableHandle]) -> Iterator[None]:
    """While open, these hooks stay."""
    with ExitStack() as hooks:
        for handle in handles:
            hooks.enter_context(handle)
        yield


@contextmanager
def overridden(owner: object, **attributes: Any) -> Iterator[None]:
    """While open, `owner` has these attributes, methods mostly, in place of its own, or of its class's."""
    own = {name: owner.__dict__[name] for name in attributes if name in owner.__dict__}
    owner.__dict__.update(attributes)
    try:
        yield
    finally:
        owner.__dict__.update(own)
        for name in attributes.keys() - own.keys():
            del owner.__dict__[name]


def _time_stages(model: nn.DataParallel, clock: PhaseClock, watching: ExitStack) -> None:
    """The stages are methods of the model: for the time being, timed ones stand in front of them."""
    stages = {name: clock.span(name)(getattr(model, name)) for name in ("scatter", "replicate", "gather")}
    if isinstance(model, EmulatedDataParallel):
        stages["reduce"] = clock.span("reduce")(model.reduce)
    else:  # what torch calls to sum the gradients
        timed_reduce = clock.span("reduce")(comm.reduce_add_coalesced)
        watching.enter_context(overridden(comm, reduce_add_coalesced=timed_reduce))
    watching.enter_context(overridden(model, **stages))


def _watch_replicas(model: nn.DataParallel, clock: PhaseClock, watching: ExitStack) -> None:
    """A module has hooks for its forward pass, which replicas take over; for the backward pass, emulation a method."""
    emulated, usual = isinstance(model, EmulatedDataParallel), model.replicate
    numbers: dict[int, int] = {}

    def replicate(module: nn.Module, device_ids: list) -> list[nn.Module]:
        replicas = usual(module, device_ids)
        numbers.clear()
        numbers.update({id(replica): number for number, replica in enumerate(replicas)})
        return replicas

    def forward_begins(replica: nn.Module, inputs: tuple[Nested]) -> None:
        replica.__dict__["begun"] = mark(tensors_of(inputs)[0].device)

    def forward_ends(replica: nn.Module, inputs: tuple[Nested], output: Nested) -> None:
        number, device = numbers.get(id(replica), 0), tensors_of(inputs)[0].device
        clock.replica_worked(number, replica.__dict__.pop("begun"), mark(device))
        if not emulated:
            _watch_backward(replica, output, device, partial(clock.replica_worked, number))

    def replica_backward(shard: Shard, output_gradients: Sequence[Tensor]) -> tuple[Tensor, ...]:
        device = output_gradients[0].device
        before = mark(device)
        gradients = type(model).replica_backward(model, shard, output_gradients)
        clock.replica_worked(numbers.get(id(shard.replica), 0), before, mark(device))
        return gradients

    watching.enter_context(overridden(model, replicate=replicate, replica_backward=replica_backward))
    watching.enter_context(model.module.register_forward_pre_hook(forward_begins))
    watching.enter_context(model.module.register_forward_hook(forward_ends))


def _watch_backward(
    replica: nn.Module, output: Nested, device: torch.device, worked: Callable[[Mark, Mark], None]
) -> None:
    """torch's DataParallel has no place where a replica's backward begins or ends: gradients tell."""
    weights = [w for module in replica.modules() for w in getattr(module, "_former_parameters", {}).values()]
    begun: list[Mark] = []
    torch.autograd.graph.register_multi_grad_hook(
        [tensor for tensor in tensors_of(output) if tensor.requires_grad],
        lambda _: begun.append(mark(device)),
        mode="any",
    )
    torch.autograd.graph.register_multi_grad_hook(
        [weight for weight in weights or replica.parameters() if weight.requires_grad],
        lambda _: worked(begun[0], mark(device)),
    )


def profiled_steps(training: Training, devices: LocalDevices, steps: int) -> torch.profiler.profile:
    """A profile of so many steps of this rank, each phase a named range; a step before them settles the instruments.

    In a pass of its own: the profiler slows down what it watches.
    """
    upcoming, clock = training.endless_steps(), PhaseClock(devices)
    activities = [torch.profiler.ProfilerActivity.CPU]
    if devices.kind == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    profiler = torch.profiler.profile(activities=activities, acc_events=True)  # else torch warns of lost events
    barrier()
    with instruments(training.model, clock):
        clock.take_step(training, upcoming)
        devices.synchronize()
        with profiler:
            for _ in range(steps):
                clock.take_step(training, upcoming)
            devices.synchronize()
    return profiler


def busy_seconds(experiment: Experiment) -> dict[str, Any]:
    """By phase, and for the whole `step`: seconds of each profiled step in which the first device was busy.

    It must be a GPU. Under DDP the exchange is kept out of the step: its kernels wait for other ranks. Events say when
    the first kernel of a phase began and when the last one ended, and not whether the device had anything to do in
    between. A profile has every kernel; it slows the host down, so that nothing else is taken from this pass.
    """
    try:
        profiler = profiled_steps(experiment.training, experiment.devices, PROFILED_STEPS)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "trace.json"
            profiler.export_chrome_trace(str(path))
            events = json.loads(path.read_text())["traceEvents"]
        return {"busy_seconds": busy_by_phase(events, experiment.devices.indices[0])}
    except Exception as error:  # the profiler's, of this rank alone
        raise NotMeasuredError(str(error) or type(error).__name__) from error


def busy_by_phase(events: Iterable[Mapping[str, Any]], device: int) -> dict[PhaseOrStep, list[float]]:
    """The same of a trace's events (times in µs). What a device does belongs to the phase in which it was launched."""
    events = [event for event in events if event.get("ph") == "X"]
    marked = (e for e in events if e.get("cat") == "user_annotation" and e["name"] in RANGES)  # torch marks more
    ranges = sorted((e["dur"], e["ts"], e["name"]) for e in marked)
    launched = {e["args"].get("correlation"): e["ts"] for e in events if e.get("cat") in LAUNCHES}
    steps = sorted((one for one in ranges if one[2] == "step"), key=itemgetter(1))
    work: dict[tuple, dict[PhaseOrStep, list[Interval]]] = {step: defaultdict(list) for step in steps}
    for event in events:
        moment = launched.get(event["args"].get("correlation")) if event.get("cat") in WORK else None
        if moment is None or event["args"].get("device") != device:
            continue
        # Phases lie one after another or within one another, and all in steps: from the innermost to the step.
        around = [one for one in ranges if one[1] <= moment <= one[0] + one[1]]
        if len(around) > 1:
            phase = around[0][2]
            if "nccl" in event["name"].lower() and phase not in OWN_NCCL:
                phase = "exchange"
            work[around[-1]][phase].append((event["ts"], event["ts"] + event["dur"]))
    names = sorted({name for of_step in work.values() for name in of_step})
    whole = [[i for name, own in of_step.items() if name != "exchange" for i in own] for of_step in work.values()]
    seconds = {name: [_length(of_step.get(name, ())) for of_step in work.values()] for name in names}
    return seconds | {"step": [_length(intervals) for intervals in whole]}


def _length(intervals: Sequence[Interval]) -> float:
    """Seconds that a union of intervals (in µs) covers."""
    total, reached = 0.0, float("-inf")
    for began, ended in sorted(intervals):
        total += max(0.0, ended - max(began, reached))
        reached = max(reached, ended)
    return round(total / 1e6, 7)
