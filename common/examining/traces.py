"""Profiles of a few steps by torch: a trace to look into with Perfetto, and how long the device works in each phase."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import torch

from common.examining.instruments import instruments
from common.examining.phases import PhaseClock
from common.machine.devices import LocalDevices
from common.machine.ranks import barrier
from common.records import PhaseName, PhaseOrStep
from common.training.training import Training

TRACED_STEPS = 3
PROFILED_STEPS = 4
RANGES = {"step", *get_args(PhaseName)}
WORK = {"kernel", "gpu_memcpy", "gpu_memset"}
LAUNCHES = {"cuda_runtime", "cuda_driver"}
"""Categories of a trace: what a device does, and the calls by which the host asks for it."""
OWN_NCCL = {"replicate", "reduce", "scatter", "gather"}
"""Phases of DataParallel, which send by NCCL as well."""

Interval = tuple[float, float]


def write_trace(training: Training, devices: LocalDevices, folder: Path, stem: str) -> Path:
    """A Chrome trace of a few steps of this rank, `folder`/`stem`.json.gz, with the phases as named ranges."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}.json.gz"
    profiled_steps(training, devices, TRACED_STEPS).export_chrome_trace(str(path))
    return path


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


def busy_seconds(training: Training, devices: LocalDevices) -> dict[PhaseOrStep, list[float]]:
    """By phase, and for the whole `step`: seconds of each profiled step in which the first of `devices` was busy.

    It must be a GPU. Under DDP the exchange is kept out of the step: its kernels wait for other ranks. Events say when
    the first kernel of a phase began and when the last one ended, and not whether the device had anything to do in
    between. A profile has every kernel; it slows the host down, so that nothing else is taken from this pass.
    """
    profiler = profiled_steps(training, devices, PROFILED_STEPS)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        events = json.loads(path.read_text())["traceEvents"]
    return busy_by_phase(events, devices.indices[0])


def busy_by_phase(events: Iterable[Mapping[str, Any]], device: int) -> dict[PhaseOrStep, list[float]]:
    """The same of a trace's events (times in µs). What a device does belongs to the phase in which it was launched."""
    events = [event for event in events if event.get("ph") == "X"]
    marked = (e for e in events if e.get("cat") == "user_annotation" and e["name"] in RANGES)  # torch marks more
    ranges = [(e["ts"], e["ts"] + e["dur"], e["name"]) for e in marked]
    steps = sorted((began, ended) for began, ended, name in ranges if name == "step")
    phases = sorted((ended - began, began, ended, name) for began, ended, name in ranges if name != "step")
    launched = {e["args"].get("correlation"): e["ts"] for e in events if e.get("cat") in LAUNCHES}
    work: list[dict[PhaseOrStep, list[Interval]]] = [{} for _ in steps]
    for event in events:
        moment = launched.get(event["args"].get("correlation")) if event.get("cat") in WORK else None
        if moment is None or event["args"].get("device") != device:
            continue
        # Phases lie one after another or within one another: the shortest that contains the moment is the innermost.
        phase = next((name for _, began, ended, name in phases if began <= moment <= ended), None)
        step = next((number for number, (began, ended) in enumerate(steps) if began <= moment <= ended), None)
        if phase is None or step is None:
            continue
        if "nccl" in event["name"].lower() and phase not in OWN_NCCL:
            phase = "exchange"
        work[step].setdefault(phase, []).append((event["ts"], event["ts"] + event["dur"]))
    names = {name for of_step in work for name in of_step}
    seconds = {name: [_length(of_step.get(name, ())) for of_step in work] for name in sorted(names)}
    whole = [_length([i for name, own in of_step.items() if name != "exchange" for i in own]) for of_step in work]
    return seconds | {"step": whole}


def _length(intervals: Sequence[Interval]) -> float:
    """Seconds that a union of intervals (in µs) covers."""
    total, reached = 0.0, float("-inf")
    for began, ended in sorted(intervals):
        total += max(0.0, ended - max(began, reached))
        reached = max(reached, ended)
    return round(total / 1e6, 7)
