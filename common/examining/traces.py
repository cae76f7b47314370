"""A trace of a few steps, to look into with Perfetto."""

from __future__ import annotations

from pathlib import Path

import torch

from common.examining.instruments import instruments
from common.examining.phases import PhaseClock
from common.machine.devices import LocalDevices
from common.machine.ranks import barrier
from common.training.training import Training

TRACED_STEPS = 3


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
    upcoming, clock = training.whole_steps(), PhaseClock(devices)
    activities = [torch.profiler.ProfilerActivity.CPU]
    if devices.kind == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    profiler = torch.profiler.profile(activities=activities, acc_events=True)  # else torch warns of lost events
    barrier()
    with instruments(training.model, clock):
        for number in range(1 + steps):
            if number == 1:
                devices.synchronize()
                profiler.start()
            with clock.step():
                clock.phase("data wait")
                batches = next(upcoming)
                training.step(batches, clock.phase)
        devices.synchronize()
        profiler.stop()
    return profiler
