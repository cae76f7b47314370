"""What the data path costs a step on a GPU: fetching, pinning and copying batches beside the training."""

from __future__ import annotations

from itertools import islice, repeat

from common.machine.devices import LocalDevices
from common.machine.ranks import barrier
from common.measuring.clocks import mark, seconds_between
from common.records import RankProfile
from common.training.batch import Batch
from common.training.training import Training

ROUNDS, STEPS = 6, 4
"""So many runs of so many steps with the loader, and as many without: the fewest that have an interval."""


def measure_data_path(training: Training, devices: LocalDevices, found: RankProfile) -> None:
    """Runs of steps with the loader, and of steps with one batch that lies on the device, in turn, left in `found`.

    The difference is not only waiting: the loader's threads take the interpreter from the one that launches, and its
    copies take bandwidth.
    """
    upcoming = training.endless_steps()
    resident = [Batch(*batch.to(training.device), batch.indices) for batch in next(upcoming)]
    for _ in range(ROUNDS):
        for seconds, source in ((found.loaded_seconds, upcoming), (found.resident_seconds, repeat(resident))):
            devices.synchronize()
            barrier()
            before = mark(devices.device)
            for batches in islice(source, STEPS):
                training.step(batches)
            after = mark(devices.device)
            devices.synchronize()
            seconds.append(round(seconds_between(before, after) / STEPS, 7))
