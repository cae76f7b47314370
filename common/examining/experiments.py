"""Extra steps after the measured epochs: phases, and one experiment after another."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import islice, repeat

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from common.examining.instruments import PROFILED_STEPS, busy_seconds, instruments, readiness
from common.examining.one_device import measure_for_prediction, measure_forward_threads
from common.examining.phases import PhaseClock, bytes_moved
from common.examining.rounds import MAX_SECONDS, MIN_WARM_UP, Experiment, Rounds, TooSlowError, timed
from common.examining.wrapper_costs import (
    LEAD_STEPS,
    measure_exchange_cost,
    measure_threads_and_replicas,
    replicated_kinds,
)
from common.machine.devices import LocalDevices, barrier, gathered
from common.records import FORWARD_THREADS, ProfileRecord, RankProfile
from common.training.batch import Batch
from common.training.training import Training, has_exchange

BUSY = "what the device is busy with"
RUNS, STEPS_OF_RUN = 6, 4
"""Of the data path: so many runs of so many steps with the loader, and as many without: the fewest that
have an interval."""


def step_count(model: nn.Module, steps: int, on_gpu: bool, step_seconds: float | None = None) -> int:
    """Optimizer steps that `profile_steps` takes, as near as a reader needs to know; fewer where they take long."""
    if has_exchange(model):
        kinds, each = (4 if isinstance(model, DistributedDataParallel) else 2), MIN_WARM_UP + LEAD_STEPS + steps
    elif isinstance(model, nn.DataParallel):
        kinds, each = len(replicated_kinds(model)), MIN_WARM_UP + steps
    else:
        kinds, each = (len(FORWARD_THREADS) if on_gpu else 0), MIN_WARM_UP + steps
    of_kinds = min(kinds * each, round(MAX_SECONDS / step_seconds)) if step_seconds else kinds * each
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
            batches = clock.take_step(training, upcoming)
            progress()
    mine, config = clock.read(devices.rank), training.config
    profile = ProfileRecord(steps=steps, bytes_moved=bytes_moved(model, batches, training.device, config.ddp))
    profile.bucket_bytes = _bucket_bytes(model)
    yield _of_all_ranks(profile, mine)
    rounds = Rounds(steps, config.seed, progress, partial(add_note, profile))
    setting = Experiment(training, devices, batches, rounds, profile)
    for what, measure in _experiments(training, devices.kind == "cuda").items():
        before = mine.model_copy(deep=True)
        try:
            measure(setting, mine)
        except (RuntimeError, MemoryError) as error:
            if has_exchange(model) and not isinstance(error, TooSlowError):
                raise
            mine = before
            _note_missing(profile, what, error)
        yield _of_all_ranks(profile, mine)


def add_note(profile: ProfileRecord, note: str) -> None:
    """One more reason why something is missing."""
    profile.note = "; ".join(filter(None, (profile.note, note.split("\n")[0])))


def _of_all_ranks(profile: ProfileRecord, mine: RankProfile) -> ProfileRecord:
    return profile.model_copy(update={"ranks": gathered(mine.model_copy(deep=True))})


def _note_missing(profile: ProfileRecord, what: str, error: Exception) -> None:
    add_note(profile, f"{what} was not measured: {str(error) or type(error).__name__}")


def _experiments(training: Training, on_gpu: bool) -> dict[str, Callable[[Experiment, RankProfile], None]]:
    """What is measured of this method, by what it tells; each leaves it in the profile, or in this rank's."""
    experiments: dict[str, Callable[[Experiment, RankProfile], None]] = {}
    if on_gpu:
        experiments["what the host needs to launch a step"] = _launching
        experiments["the data path"] = _data_path
        experiments[BUSY] = _busy
    if has_exchange(training.model):
        experiments["what the exchange costs"] = measure_exchange_cost
    elif isinstance(training.model, nn.DataParallel):
        experiments["what threads and replicas cost"] = measure_threads_and_replicas
    elif not training.config.compile:
        experiments["what a new thread costs"] = measure_forward_threads
        experiments["what predictions start from"] = measure_for_prediction
    return experiments


def _launching(experiment: Experiment, mine: RankProfile) -> None:
    """The host's time for each phase of steps that begin with an idle device, and how long these steps take.

    Without the hooks that watch replicas: in Python, on every weight, they would be a part of what the host does.
    """
    training, devices = experiment.training, experiment.devices
    upcoming, clock = training.endless_steps(), PhaseClock(devices)
    barrier()
    with instruments(training.model, clock, replicas=False):
        for _ in range(1 + experiment.profile.steps):
            batches = next(upcoming)  # waiting for it is no work
            devices.synchronize()
            with clock.step():
                training.step(batches, clock.phase)
    mine.host_seconds = clock.host_seconds()
    mine.from_idle_seconds = clock.read(devices.rank).step_seconds


def _data_path(experiment: Experiment, mine: RankProfile) -> None:
    """What fetching, pinning and copying batches beside the training costs a step on a GPU.

    Runs of steps with the loader, and of steps with one batch that is on the device, in turn. The difference is not
    only waiting: the loader's threads take the interpreter from the one that launches, and its copies take bandwidth.
    """
    training = experiment.training
    upcoming = training.endless_steps()
    resident = [Batch(*batch.to(training.device), batch.indices) for batch in next(upcoming)]

    def run(source: Iterator[Sequence[Batch]]) -> None:
        for batches in islice(source, STEPS_OF_RUN):
            training.step(batches)

    for _ in range(RUNS):
        for seconds, source in ((mine.loaded_seconds, upcoming), (mine.resident_seconds, repeat(resident))):
            seconds.append(round(timed(experiment.devices, partial(run, source)) / STEPS_OF_RUN, 7))


def _busy(experiment: Experiment, mine: RankProfile) -> None:
    try:
        mine.busy_seconds = busy_seconds(experiment.training, experiment.devices)
    except (RuntimeError, OSError, ValueError, KeyError) as error:  # the profiler's trouble, and nobody else's
        _note_missing(experiment.profile, BUSY, error)


def _bucket_bytes(model: nn.Module) -> list[int]:
    """Of DDP, in the order in which they become ready."""
    if not isinstance(model, DistributedDataParallel):
        return []
    logged = model._get_ddp_logging_data()
    sizes = logged.get("rebuilt_bucket_sizes") or logged.get("bucket_sizes", "")
    return [int(size) for size in sizes.split(",") if size.strip()]
