"""Campaigns that choose each launch by how those before it ended: `make crossover` and `make ladder`."""

from collections.abc import Generator, Iterator
from dataclasses import replace
from itertools import count

from common.campaigns.launches import (
    NO_PROFILE,
    PUBLISHED,
    QUIET,
    REPORT,
    USUAL_SIZES,
    History,
    Overrides,
    Place,
    Plan,
    Sizes,
    drawn_orders,
    paired_seconds,
)
from common.command_line.commands import default_count
from common.errors import UsageError
from common.records import METHODS, DeviceKind, Environment, Method

BATCHES: dict[DeviceKind, tuple[int, ...]] = {
    "cuda": (8, 32, 128, 512, 16, 64, 256, 1024, 2048),
    "cpu": (8, 32, 16, 64),
}
"""Per device. Wide steps first: where time ends a round early, what is missing lies between what was measured."""
PROFILE = " --anatomy-steps 8"
"""Enough for an interval. For each batch on one GPU, for when launches stop binding, and once for DP's host time."""
MIN_ROUNDS = 3
"""Of two, an interval has one degree of freedom and says nothing: where launches differed by a fifth, ± 35,777 %."""


def over_batches(here: Environment, overrides: Overrides, seed: int, history: History) -> Plan:
    """One device, DP and DDP over batches, to see from which batch on more devices pay: rounds in which the methods of
    a batch have an order drawn anew. A method that is out of memory gets no larger batch; what was run before is not
    run again, so that an interrupted campaign goes on where it was. Raises `UsageError` where there is one device only.
    """
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
        if number == 2:  # in between, at one place only: it must not always precede the same launch
            yield REPORT + QUIET, None
        for batch in batches:
            for index in next(orders[batch]):
                method = PUBLISHED[index]
                command = _command(kind, method, devices, batch, overrides, number == 1 and batch == min(batches))
                is_new = len(history.completed(command)) < number and history.newest_failure(command) != "out_of_memory"
                if is_new and batch < too_large.get(method, batch + 1):
                    yield command + (QUIET if number > 1 else ""), (number, next(places))
                if history.newest_failure(command) == "out_of_memory":
                    too_large[method] = min(batch, too_large.get(method, batch))


def _command(kind: DeviceKind, method: Method, devices: int, batch: int, overrides: Overrides, is_first: bool) -> str:
    """The launch of a method at one batch."""
    # One long epoch: the wait for its first batch of data counts little. On GPUs 120 steps of small batches are a
    # second or two; on CPU cores ten steps are the fewest from which an interval is not doubted.
    steps = max(24, min(120, 7680 // batch)) if kind == "cuda" else max(10, min(24, 192 // batch))
    of_method = METHODS[method]
    devices = devices if of_method.is_parallel else 1
    sizes = replace(USUAL_SIZES[kind], epochs=1, steps=steps).chosen(replace(overrides, batch=batch), devices)
    has_profile = kind == "cuda" and (not of_method.is_parallel or (of_method.has_replicas and is_first))
    return sizes.command(method, devices, PROFILE if has_profile else NO_PROFILE)


HOPELESS = 0.5
"""Below this share of the speed so far, one round is enough: on two busy CPU cores bf16 took twelve times as long."""
SAMPLES: dict[DeviceKind, int] = {"cuda": 12_288, "cpu": 192}
"""Of an epoch."""
DOUBLED = ""
"""Stands for the batch, twice as large."""
SWITCHES: dict[DeviceKind, tuple[str, ...]] = {
    "cuda": (" --precision bf16", " --channels-last", DOUBLED, DOUBLED, DOUBLED, " --compile",
             " --prefetch", " --fused-optimizer", " --cudnn-benchmark", " --compile-mode reduce-overhead"),
    "cpu": (" --precision bf16", " --channels-last", DOUBLED, " --fused-optimizer", " --compile"),
}  # fmt: skip
NEEDS_SWITCH = {" --compile-mode reduce-overhead": " --compile"}
"""Switches that say nothing without another one."""


def up_the_ladder(here: Environment, overrides: Overrides, seed: int, history: History) -> Plan:
    """From the published command upwards, a trial for each switch, which stays if its interval says so: the best so
    far, and what is tried, in rounds of two. Then, where the batch has grown, the switches that were kept at the first
    batch, for its loss. Raises `UsageError` where rounds are too few for an interval, and where the start fails."""
    kind: DeviceKind = "cuda" if here.gpus else "cpu"
    rounds = overrides.repeats or MIN_ROUNDS
    if rounds < MIN_ROUNDS:
        raise UsageError(f"a rung needs {MIN_ROUNDS} rounds for an interval: give REPEATS={MIN_ROUNDS} or more")
    first = best = replace(USUAL_SIZES[kind], samples=SAMPLES[kind]).chosen(overrides, 1)
    orders, batch_pays = enumerate(drawn_orders(2, seed), 1), True  # rounds are counted through all trials
    for switch in SWITCHES[kind]:
        if NEEDS_SWITCH.get(switch, "") not in best.switches or (switch == DOUBLED and not batch_pays):
            continue
        if switch == DOUBLED:
            tried = replace(best, batch=2 * best.batch)
        else:
            tried = replace(best, switches=best.switches + switch)
        if (yield from _trial(tried, best, rounds, orders, history)):
            best = tried
        elif switch == DOUBLED:
            batch_pays = False
    at_first_batch = replace(best, batch=first.batch).command("single", flags=NO_PROFILE)
    if best.batch > first.batch and not history.completed(at_first_batch):
        yield at_first_batch, (next(orders)[0], 1)


def _trial(
    tried: Sizes, best: Sizes, rounds: int, orders: Iterator[tuple[int, list[int]]], history: History
) -> Generator[tuple[str, Place], None, bool]:
    """Both in rounds; returns whether what is tried is the faster, beyond doubt. What was run before counts."""
    commands = [sizes.command("single", flags=NO_PROFILE) for sizes in (best, tried)]
    if history.newest_failure(commands[1]) in ("out_of_memory", "exception"):
        return False
    pairs = paired_seconds(*map(history.runs, commands))
    for _ in range(rounds - len(pairs)):
        if any(before < HOPELESS * after for before, after in pairs):
            return False
        number, order = next(orders)
        for place, index in enumerate(order, 1):
            yield commands[index], (number, place)
            if commands[0] in history.failed:
                raise UsageError(f"what stood so far fails now, and its record says why: {commands[0]}")
            if commands[1] in history.failed:
                return False
        pairs = paired_seconds(*map(history.runs, commands))
    if history.folder is None:  # a rehearsal, as if each switch paid
        return True
    if len(pairs) < MIN_ROUNDS:
        raise UsageError(f"records of runs of {commands[1]} are missing, or say that they are another machine's")
    # Imported this late, for it takes numpy and scipy with it, which nothing else here needs.
    from common.analysis.statistics.estimates import paired_ratio

    return paired_ratio(*zip(*pairs, strict=True)).bounds[0] > 1
