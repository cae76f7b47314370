"""`make crossover`: one device, DP and DDP over batches, to see from which batch on more devices pay."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

from common.campaigns.campaign import (
    NO_PROFILE,
    PUBLISHED,
    QUIET,
    REPORT,
    AdaptiveCampaign,
    Overrides,
    Plan,
    PlannedLaunch,
    Sizes,
)
from common.campaigns.orders import drawn_orders
from common.campaigns.progress import History
from common.command_line.commands import default_count
from common.errors import UsageError
from common.messages import message
from common.records import METHODS, DeviceKind, Environment, Method

MODELS: dict[DeviceKind, str] = {"cuda": "resnet50", "cpu": "resnet18"}
BATCHES: dict[DeviceKind, tuple[int, ...]] = {
    "cuda": (8, 32, 128, 512, 16, 64, 256, 1024, 2048),
    "cpu": (8, 32, 16, 64),
}
"""Per device. Wide steps first: where time ends a round early, what is missing lies between what was measured."""
PROFILE = " --anatomy-steps 8"
"""Enough for an interval. For each batch on one GPU, for when launches stop binding, and once for DP's host time."""


def over_batches(here: Environment, overrides: Overrides, seed: int, history: History) -> Plan:
    """The commands in rounds; in each, the three methods of a batch in an order drawn anew. A method that is out of
    memory gets no larger batch; what was run before is not run again, so that an interrupted campaign goes on where it
    was. Raises `UsageError` where there is one device only."""
    kind: DeviceKind = "cuda" if here.gpus else "cpu"
    devices = overrides.devices or default_count(here)
    if devices < 2:
        raise UsageError("crossover compares several devices with one, and there is one only: give DEVICES=2 or more")
    largest = overrides.batch
    batches = [batch for batch in BATCHES[kind] if batch <= (largest or batch)] or [largest or 1]
    orders = {batch: drawn_orders(len(PUBLISHED), f"{seed}, batch {batch}") for batch in batches}
    too_large: dict[Method, int] = {}
    for number in range(1, (overrides.repeats or 3) + 1):
        places = count(1)
        if number == 2:
            yield PlannedLaunch(
                REPORT + QUIET
            )  # in between, at one place only: it must not always precede the same launch
        for batch in batches:
            for index in next(orders[batch]):
                method = PUBLISHED[index]
                command = _command(kind, method, devices, batch, overrides, number == 1 and batch == min(batches))
                if history.newest_failure(command) == "out_of_memory":
                    too_large[method] = min(batch, too_large.get(method, batch))
                if batch >= too_large.get(method, batch + 1) or len(history.completed(command)) >= number:
                    continue
                planned = PlannedLaunch(command + (QUIET if number > 1 else ""), (number, next(places)))
                if (yield planned) == "out_of_memory":
                    too_large[method] = batch


def _command(kind: DeviceKind, method: Method, devices: int, batch: int, overrides: Overrides, is_first: bool) -> str:
    """The launch of a method at one batch."""
    # One long epoch: the wait for its first batch of data counts little. On GPUs 120 steps of small batches are a
    # second or two; on CPU cores ten steps are the fewest from which an interval is not doubted.
    steps = max(24, min(120, 7680 // batch)) if kind == "cuda" else max(10, min(24, 192 // batch))
    of_method = METHODS[method]
    devices = devices if of_method.is_parallel else 1
    sizes = Sizes(MODELS[kind], batch, epochs=1, steps=steps).chosen(replace(overrides, batch=batch), devices)
    has_profile = kind == "cuda" and (not of_method.is_parallel or (of_method.has_replicas and is_first))
    return sizes.command(method, devices, PROFILE if has_profile else NO_PROFILE)


CROSSOVER = AdaptiveCampaign(
    message("one device, DataParallel and DistributedDataParallel over batches, as far as memory and time reach"),
    plan=over_batches,
    survives=("out_of_memory",),
    budget={"cuda": 360, "cpu": 300},
)
