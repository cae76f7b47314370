"""Extra steps after the measured epochs: phases, and one experiment after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import islice, repeat

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from common.examining.exchange_cost import exchange_steps, measure_exchange_cost
from common.examining.instruments import instruments, readiness
from common.examining.one_device import measure_for_prediction
from common.examining.phases import PhaseClock, bytes_moved
from common.examining.rounds import MAX_SECONDS, Rounds, TooSlowError
from common.examining.thread_costs import (
    forward_steps,
    measure_forward_threads,
    measure_threads_and_replicas,
    replicated_steps,
)
from common.examining.traces import PROFILED_STEPS, busy_seconds
from common.machine.devices import LocalDevices
from common.machine.ranks import barrier, gathered
from common.measuring.clocks import mark, seconds_between
from common.records import ProfileRecord, RankProfile
from common.training.batch import Batch
from common.training.models import has_exchange
from common.training.training import Training

RUNS, STEPS_OF_RUN = 6, 4
"""Of the data path: so many runs of so many steps with the loader, and as many without: the fewest that
have an interval."""


def step_count(model: nn.Module, steps: int, on_gpu: bool, step_seconds: float | None = None) -> int:
    """Optimizer steps that `profile_steps` takes, as near as a reader needs to know; fewer where they take long."""
    if has_exchange(model):
        of_kinds = exchange_steps(model, steps)
    elif isinstance(model, nn.DataParallel):
        of_kinds = replicated_steps(model, steps)
    else:
        of_kinds = forward_steps(steps) if on_gpu else 0
    if step_seconds:
        of_kinds = min(of_kinds, round(MAX_SECONDS / step_seconds))
    for_gpu = steps + PROFILED_STEPS + 2 * RUNS * STEPS_OF_RUN
    return 2 + steps + of_kinds + (for_gpu if on_gpu else 0)


def profile_steps(
    training: Training, devices: LocalDevices, steps: int, progress: Callable[[], object] = lambda: None
) -> Iterator[ProfileRecord]:
    """Take `steps` steps apart, then carry out one experiment after another: what is known after each, on every rank.

    An experiment that fails leaves its reason, and the others go on. But not under DDP: the other ranks wait for the
    one that fails in an exchange, so that its error ends them all; what was known until then has been handed out.
    (Steps that are too slow are so on all ranks.) Weights that come out of this are of no use: steps without
    exchange let the ranks drift apart.
    """
    model, upcoming = training.model, training.endless_steps()
    barrier()
    watching: AbstractContextManager[list[Tensor]] = readiness(model) if has_exchange(model) else nullcontext([])
    with watching as order:
        batches = next(upcoming)
        training.step(batches)
    clock = PhaseClock(devices)
    with instruments(model, clock, order[-1:]):
        for _ in range(1 + steps):
            with clock.step():
                clock.phase("data wait")
                batches = next(upcoming)
                training.step(batches, clock.phase)
            progress()
    mine, config = clock.read(devices.rank), training.config
    profile = ProfileRecord(steps=steps, bytes_moved=bytes_moved(model, batches, training.device, config.ddp))
    yield _of_all_ranks(profile, mine)
    for what, experiment in _experiments(training, devices, batches, steps, profile, progress).items():
        before = mine.model_copy(deep=True)
        try:
            experiment(mine)
        except (RuntimeError, MemoryError) as error:
            if has_exchange(model) and not isinstance(error, TooSlowError):
                raise
            mine = before
            add_note(profile, f"{what} was not measured: {str(error) or type(error).__name__}")
        yield _of_all_ranks(profile, mine)


def add_note(profile: ProfileRecord, note: str) -> None:
    """One more reason why something is missing."""
    profile.note = "; ".join(filter(None, (profile.note, note.split("\n")[0])))


def _of_all_ranks(profile: ProfileRecord, mine: RankProfile) -> ProfileRecord:
    return profile.model_copy(update={"ranks": gathered(mine.model_copy(deep=True))})


def _experiments(
    training: Training,
    devices: LocalDevices,
    batches: Sequence[Batch],
    steps: int,
    profile: ProfileRecord,
    progress: Callable,
) -> dict[str, Callable[[RankProfile], object]]:
    """What is measured of this method on these devices, by what it tells; each leaves it in what it is given."""
    model, rounds = training.model, Rounds(steps, training.config.seed, progress, partial(add_note, profile))
    experiments: dict[str, Callable[[RankProfile], object]] = {}

    def busy(mine: RankProfile) -> None:
        try:
            mine.busy_seconds = busy_seconds(training, devices)
        except (RuntimeError, OSError, ValueError, KeyError) as error:  # the profiler's trouble, and nobody else's
            add_note(profile, f"what the device is busy with was not measured: {str(error) or type(error).__name__}")

    if devices.kind == "cuda":
        experiments["what the host needs to launch a step"] = partial(_launching, training, devices, steps)
        experiments["the data path"] = partial(_data_path, training, devices)
        experiments["what the device is busy with"] = busy
    if has_exchange(model):
        profile.bucket_bytes = _bucket_bytes(model)
        experiments["what the exchange costs"] = partial(measure_exchange_cost, training, devices, batches, rounds)
    elif isinstance(model, nn.DataParallel):
        experiments["what threads and replicas cost"] = lambda mine: measure_threads_and_replicas(
            training, devices, batches, rounds, profile
        )
    elif not training.config.compile:
        experiments["what a new thread costs"] = lambda mine: measure_forward_threads(
            training, devices, batches, rounds, profile
        )
        experiments["what predictions start from"] = lambda mine: measure_for_prediction(training, devices, profile)
    return experiments


def _launching(training: Training, devices: LocalDevices, steps: int, mine: RankProfile) -> None:
    """The host's time for each phase of steps that begin with an idle device, and how long these steps take.

    Without the hooks that watch replicas: in Python, on every weight, they would be a part of what the host does.
    """
    upcoming, clock = training.endless_steps(), PhaseClock(devices)
    barrier()
    with instruments(training.model, clock, replicas=False):
        for _ in range(1 + steps):
            batches = next(upcoming)  # waiting for it is no work
            devices.synchronize()
            with clock.step():
                training.step(batches, clock.phase)
    mine.host_seconds = clock.host_seconds()
    mine.from_idle_seconds = clock.read(devices.rank).step_seconds


def _data_path(training: Training, devices: LocalDevices, mine: RankProfile) -> None:
    """What fetching, pinning and copying batches beside the training costs a step on a GPU.

    Runs of steps with the loader, and of steps with one batch that is on the device, in turn. The difference is not
    only waiting: the loader's threads take the interpreter from the one that launches, and its copies take bandwidth.
    """
    upcoming = training.endless_steps()
    resident = [Batch(*batch.to(training.device), batch.indices) for batch in next(upcoming)]
    for _ in range(RUNS):
        for seconds, source in ((mine.loaded_seconds, upcoming), (mine.resident_seconds, repeat(resident))):
            devices.synchronize()
            barrier()
            before = mark(devices.device)
            for batches in islice(source, STEPS_OF_RUN):
                training.step(batches)
            after = mark(devices.device)
            devices.synchronize()
            seconds.append(round(seconds_between(before, after) / STEPS_OF_RUN, 7))


def _bucket_bytes(model: nn.Module) -> list[int]:
    """In the order in which they become ready; nothing for an exchange built by hand."""
    if not isinstance(model, DistributedDataParallel):
        return []
    logged = model._get_ddp_logging_data()
    sizes = logged.get("rebuilt_bucket_sizes") or logged.get("bucket_sizes", "")
    return [int(size) for size in sizes.split(",") if size.strip()]
