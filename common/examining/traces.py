"""A trace of a few steps, to look into with Perfetto."""

from __future__ import annotations

from pathlib import Path

import torch

from common.examining.instruments import instruments
from common.examining.phases import PhaseClock
from common.machine.devices import Place
from common.machine.ranks import barrier
from common.training.step import Training, training_step

TRACED_STEPS = 3


def write_trace(training: Training, place: Place, folder: Path, stem: str) -> Path:
    """A Chrome trace of a few steps of this rank, `folder`/`stem`.json.gz, with the phases as named ranges.

    In a pass of its own: the profiler slows down what it watches.
    """
    folder.mkdir(parents=True, exist_ok=True)
    upcoming = training.whole_steps()
    activities = [torch.profiler.ProfilerActivity.CPU]
    if place.kind == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    clock = PhaseClock(place)
    profiler = torch.profiler.profile(activities=activities)
    barrier()
    with instruments(training.model, clock):
        for number in range(1 + TRACED_STEPS):
            if number == 1:
                profiler.start()
            with clock.step():
                clock.phase("data wait")
                batches = next(upcoming)
                training_step(training, batches, clock.phase)
        place.synchronize()
        profiler.stop()
    path = folder / f"{stem}.json.gz"
    profiler.export_chrome_trace(str(path))
    return path
