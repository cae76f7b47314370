"""Extra steps after the measured epochs: phases, and one experiment after another."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice, repeat
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from common.examining.instruments import PROFILED_STEPS, busy_seconds, instruments, readiness
from common.examining.one_device import measure_for_prediction, measure_forward_threads
from common.examining.timed_steps import MAX_SECONDS, MIN_WARM_UP, Experiment, NotMeasuredError, PhaseClock, timed
from common.examining.wrapper_costs import (
    LEAD_STEPS,
    measure_exchange_cost,
    measure_threads_and_replicas,
    replicated_kinds,
)
from common.machine.devices import LocalDevices, barrier, gathered
from common.records import FORWARD_THREADS, DdpOptions, PhaseName, ProfileRecord, RankProfile
from common.training.batch import Batch, tensors_of
from common.training.data_parallel import EmulatedDataParallel
from common.training.training import Training, has_exchange

RUNS, STEPS_OF_RUN = 6, 4
"""Of the data path: so many runs of so many steps with the loader, and as many without: the fewest that
have an interval."""


def step_count(model: nn.Module, steps: int, on_gpu: bool, step_seconds: float | None = None) -> int:
    """Optimizer steps that `profile_steps` takes, as near as a reader needs to know; fewer where they take long."""
    lead = 0
    if has_exchange(model):
        kinds, lead = (4 if isinstance(model, DistributedDataParallel) else 2), LEAD_STEPS
    elif isinstance(model, nn.DataParallel):
        kinds = len(replicated_kinds(model))
    else:
        kinds = len(FORWARD_THREADS) if on_gpu else 0
    of_kinds = kinds * (MIN_WARM_UP + lead + steps)
    if step_seconds:
        of_kinds = min(of_kinds, round(MAX_SECONDS / step_seconds))
    for_gpu = steps + PROFILED_STEPS + 2 * RUNS * STEPS_OF_RUN
    return 2 + steps + of_kinds + (for_gpu if on_gpu else 0)


def profile_steps(
    training: Training, devices: LocalDevices, steps: int, progress: Callable[[], object] = lambda: None
) -> Iterator[ProfileRecord]:
    """Take `steps` steps apart, then carry out one experiment after another: what is known after each, on every rank.

    An experiment that fails leaves its reason, and the others go on. But not under DDP: the other ranks wait for the
    one that fails in an exchange, so that its error ends them all, unless it is a `NotMeasuredError`; what was known
    until then has been handed out. Weights that come out of this are of no use: steps without exchange let the ranks
    drift apart.
    """
    model, config, upcoming = training.model, training.config, training.endless_steps()
    barrier()
    with readiness(model) as order:
        training.step(next(upcoming))
    clock = PhaseClock(devices)
    with instruments(model, clock, order[-1:] if has_exchange(model) else ()):
        for _ in range(1 + steps):
            batches = clock.take_step(training, upcoming)
            progress()
    mine = clock.read()
    profile = ProfileRecord(steps=steps, bytes_moved=bytes_moved(model, batches, training.device, config.ddp))
    if isinstance(model, DistributedDataParallel):  # in the order in which they become ready
        logged = model._get_ddp_logging_data()
        sizes = logged.get("rebuilt_bucket_sizes") or logged.get("bucket_sizes", "")
        profile.bucket_bytes = [int(size) for size in sizes.split(",") if size.strip()]
    yield profile.model_copy(update={"ranks": gathered(mine)})
    experiment = Experiment(training, devices, batches, steps, progress, partial(add_note, profile))
    for what, measure in _experiments(training, devices.kind == "cuda").items():
        try:
            measured = measure(experiment)
        except Exception as error:
            if has_exchange(model) and not isinstance(error, NotMeasuredError):
                raise
            measured = {}
            experiment.note(f"{what} was not measured: {str(error) or type(error).__name__}")
        for name, value in measured.items():
            setattr(mine if name in RankProfile.model_fields else profile, name, value)
        yield profile.model_copy(update={"ranks": gathered(mine)})


def add_note(profile: ProfileRecord, note: str) -> None:
    """One more reason why something is missing."""
    profile.note = "; ".join(filter(None, (profile.note, note.split("\n")[0])))


def _experiments(training: Training, on_gpu: bool) -> dict[str, Callable[[Experiment], dict[str, Any]]]:
    """What is measured of this method, by what it tells. Each returns what it has found, by the fields of
    `RankProfile`, or of `ProfileRecord` for what belongs to no rank."""
    experiments: dict[str, Callable[[Experiment], dict[str, Any]]] = {}
    if on_gpu:
        experiments["what the host needs to launch a step"] = _launching
        experiments["the data path"] = _data_path
        experiments["what the device is busy with"] = busy_seconds
    if has_exchange(training.model):
        experiments["what the exchange costs"] = measure_exchange_cost
    elif isinstance(training.model, nn.DataParallel):
        experiments["what threads and replicas cost"] = measure_threads_and_replicas
    elif not training.config.compile:
        experiments["what a new thread costs"] = measure_forward_threads
        experiments["what predictions start from"] = measure_for_prediction
    return experiments


def _launching(experiment: Experiment) -> dict[str, Any]:
    """The host's time for each phase of steps that begin with an idle device, and how long these steps take.

    Without the hooks that watch replicas: in Python, on every weight, they would be a part of what the host does.
    """
    training, devices = experiment.training, experiment.devices
    upcoming, clock = training.endless_steps(), PhaseClock(devices)
    barrier()
    with instruments(training.model, clock, replicas=False):
        for _ in range(1 + experiment.rounds):
            batches = next(upcoming)  # waiting for it is no work
            devices.synchronize()
            with clock.step():
                training.step(batches, clock.phase)
    return {"host_seconds": clock.host_seconds(), "from_idle_seconds": clock.read().step_seconds}


def _data_path(experiment: Experiment) -> dict[str, Any]:
    """What fetching, pinning and copying batches beside the training costs a step on a GPU.

    Runs of steps with the loader, and of steps with one batch that is on the device, in turn. The difference is not
    only waiting: the loader's threads take the interpreter from the one that launches, and its copies take bandwidth.
    """
    training = experiment.training
    upcoming = training.endless_steps()
    resident = [Batch(*batch.to(training.device), batch.indices) for batch in next(upcoming)]
    loaded_seconds: list[float] = []
    resident_seconds: list[float] = []

    def run(source: Iterator[Sequence[Batch]]) -> None:
        for batches in islice(source, STEPS_OF_RUN):
            training.step(batches)

    for _ in range(RUNS):
        for seconds, source in ((loaded_seconds, upcoming), (resident_seconds, repeat(resident))):
            seconds.append(round(timed(experiment.devices, partial(run, source)) / STEPS_OF_RUN, 7))
    return {"loaded_seconds": loaded_seconds, "resident_seconds": resident_seconds}


def bytes_moved(
    model: nn.Module, batches: Sequence[Batch], device: torch.device, ddp: DdpOptions | None
) -> dict[PhaseName, int]:
    """Bytes that a step moves between devices, by phase (`ProfileRecord.bytes_moved` in the record).

    `device` is the first one. What DataParallel gathers is found out by a forward pass.
    """
    module = getattr(model, "module", model)
    gradients = sum(parameter.nbytes for parameter in module.parameters() if parameter.requires_grad)
    if has_exchange(model):
        if ddp.comm_hook == "powersgd":  # how much it sends it alone knows
            return {}
        return {"exchange": gradients // (1 if ddp.comm_hook == "none" else 2)}
    if not isinstance(model, nn.DataParallel):
        return {}
    others = sum(device != model.device_ids[0] for device in model.device_ids)  # on one GPU, nothing leaves it
    shares = others / len(model.device_ids)
    held = sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers()))
    emulated = isinstance(model, EmulatedDataParallel)  # cores share one memory: scattering hands out views
    with torch.no_grad():
        outputs = model(batches[0].to(device)[0])
    return {
        "scatter": 0 if emulated else round(sum(t.nbytes for b in batches for t in tensors_of(b.inputs)) * shares),
        "replicate": held * others * len(batches),  # DataParallel knows nothing of accumulation
        "gather": round(sum(tensor.nbytes for tensor in tensors_of(outputs)) * len(batches) * shares),
        "reduce": gradients * others * len(batches),
    }
