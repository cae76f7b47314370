"""`make crossover`: one device, DP and DDP over batches, to see from which batch on more devices pay."""

from __future__ import annotations

import shlex
from itertools import count

from common.campaigns.launches import LAUNCHES, QUIET, REPORT, WITHOUT_ANATOMY, Chosen
from common.campaigns.orders import drawn_orders
from common.campaigns.past import Past
from common.campaigns.steering import Launches, Planned
from common.command_line.commands import default_count
from common.errors import UsageError
from common.records import METHODS, DeviceKind, Environment

PURPOSE = "one device, DataParallel and DistributedDataParallel over batches, as far as memory and time reach"
BUDGET: dict[DeviceKind, float] = {"cuda": 360, "cpu": 300}
"""Seconds, the start of every process included."""
MODELS: dict[DeviceKind, str] = {"cuda": "resnet50", "cpu": "resnet18"}
BATCHES: dict[DeviceKind, tuple[int, ...]] = {
    "cuda": (8, 32, 128, 512, 16, 64, 256, 1024, 2048),
    "cpu": (8, 32, 16, 64),
}
"""Per device. Wide steps first: where time ends a round early, what is missing lies between what was measured."""
TAKEN_APART = " --anatomy-steps 8"
"""Enough for an interval. For each batch on one GPU, for when launches stop binding, and once for DP's host time."""


def over_batches(here: Environment, chosen: Chosen, seed: int, past: Past) -> Launches:
    """The commands in rounds; in each, the three methods of a batch in an order drawn anew. A method that is out of
    memory gets no larger batch; what was run before is not run again, so that an interrupted campaign goes on where it
    was. Raises `UsageError` where there is one device only."""
    kind: DeviceKind = "cuda" if here.gpus else "cpu"
    devices = chosen.devices or default_count(here)
    if devices < 2:
        raise UsageError("crossover compares several devices with one, and there is one only: give DEVICES=2 or more")
    batches = [batch for batch in BATCHES[kind] if batch <= (chosen.batch or batch)] or [chosen.batch or 1]
    orders = {batch: drawn_orders(3, f"{seed}, batch {batch}") for batch in batches}
    too_large: dict[str, int] = {}
    for number in range(1, (chosen.repeats or 3) + 1):
        places = count(1)
        if number == 2:
            yield Planned(REPORT + QUIET)  # in between, at one place only: it must not always precede the same launch
        for batch in batches:
            commands = _commands(kind, devices, batch, chosen, number == 1 and batch == min(batches))
            for index in next(orders[batch]):
                method, command = commands[index]
                if past.newest_failure(command) == "out_of_memory":
                    too_large[method] = min(batch, too_large.get(method, batch))
                if batch >= too_large.get(method, batch + 1) or len(past.runs(command)) >= number:
                    continue
                planned = Planned(command + (QUIET if number > 1 else ""), (number, next(places)))
                if (yield planned) == "out_of_memory":
                    too_large[method] = batch


def _commands(kind: DeviceKind, devices: int, batch: int, chosen: Chosen, is_first: bool) -> list[tuple[str, str]]:
    """Method and command of each launch at one batch."""
    # One long epoch: the wait for its first batch of data counts little. On GPUs 120 steps of small batches are a
    # second or two; on CPU cores ten steps are the fewest from which an interval is not doubted.
    steps = max(24, min(120, 7680 // batch)) if kind == "cuda" else max(10, min(24, 192 // batch))
    commands = []
    for method, template in LAUNCHES.items():
        of_all = devices if METHODS[method].is_parallel else 1
        command = template.format(
            model=shlex.quote(chosen.model or MODELS[kind]),
            batch=batch,
            global_batch=batch * devices,
            epochs=chosen.epochs or 1,
            samples=f" --samples-per-epoch {chosen.samples or steps * batch * of_all}",
            devices=devices,
            gpus=",".join(map(str, range(devices))),
        )
        taken_apart = kind == "cuda" and (
            not METHODS[method].is_parallel or (METHODS[method].has_replicas and is_first)
        )
        commands.append((method, command + (TAKEN_APART if taken_apart else WITHOUT_ANATOMY)))
    return commands
