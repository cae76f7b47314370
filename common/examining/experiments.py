"""Extra steps after the measured epochs: phases, and what DDP's exchange, DP's threads and DP's replicas cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from common.examining.busy import busy_seconds
from common.examining.instruments import instruments, readiness
from common.examining.phases import PhaseClock
from common.examining.traffic import bytes_moved
from common.machine.devices import Place
from common.machine.ranks import barrier, gathered
from common.measuring.clocks import mark, seconds_between
from common.records import Anatomy, RankAnatomy
from common.training.batch import Batch
from common.training.data_parallel import EmulatedDataParallel, Shard
from common.training.distributed import in_one_bucket
from common.training.models import bare
from common.training.step import Training, training_step

SETTLING_STEPS = 2  # DDP lays its buckets anew after its first step


def step_count(model: nn.Module, steps: int) -> int:
    """Optimizer steps that `dissect` takes, for the progress bar."""
    kinds = 3 if isinstance(model, DistributedDataParallel) else 4 if isinstance(model, nn.DataParallel) else 0
    return 1 + (1 + kinds) * steps


def dissect(training: Training, place: Place, steps: int, progress: Callable[[], object] = lambda: None) -> Anatomy:
    """Take `steps` steps apart; a wrapped model takes as many more of each of several kinds, in turn.

    Weights that come out of this are of no use: steps without exchange let the ranks drift apart.
    """
    model, upcoming = training.model, training.whole_steps()
    barrier()
    with readiness(model) if isinstance(model, DistributedDataParallel) else nullcontext([]) as order:
        batches = next(upcoming)
        training_step(training, batches)
    clock = PhaseClock(place)
    with instruments(model, clock, order[-1:]):
        for _ in range(1 + steps):
            with clock.step():
                clock.phase("data wait")
                batches = next(upcoming)
                training_step(training, batches, clock.phase)
            progress()
    mine, note = clock.read(place.rank), ""
    if place.kind == "cuda":
        mine.host_seconds = _launching(training, place, steps)
        try:
            mine.busy_seconds = busy_seconds(training, place)
        except (RuntimeError, OSError, ValueError, KeyError) as error:  # the profiler's trouble, and nobody else's
            note = f"what the device is busy with was not measured: {error or type(error).__name__}"
    config = training.config
    logits_bytes = config.global_batch_size * len(training.classifier.head_weights) * config.num_classes * 4
    anatomy = Anatomy(steps=steps, note=note, bytes_moved=bytes_moved(model, batches, logits_bytes, config.ddp))
    if isinstance(model, DistributedDataParallel):
        anatomy.bucket_bytes = _bucket_bytes(model)
        price_exchange(training, place, batches, steps, mine, progress)
    elif isinstance(model, nn.DataParallel):
        price_threads_and_replicas(training, place, batches, steps, mine, progress)
    anatomy.ranks = gathered(mine)
    return anatomy


def _launching(training: Training, place: Place, steps: int) -> dict[str, list[float]]:
    """The host's time for each phase of steps that begin with an idle device."""
    upcoming, clock = training.whole_steps(), PhaseClock(place)
    barrier()
    with instruments(training.model, clock):
        for _ in range(1 + steps):
            place.synchronize()
            with clock.step():
                clock.phase("data wait")
                batches = next(upcoming)
                training_step(training, batches, clock.phase)
    return clock.host_seconds()


def price_exchange(
    training: Training, place: Place, batches: Sequence[Batch], rounds: int, found: RankAnatomy, progress: Callable
) -> None:
    """DDP: whole steps with the exchange, without it, and with one bucket, in turn, so that drift hits all three alike.

    All ranks start each step together. The seconds are left in `found`, and those of torch's own clock of the exchange.
    """
    ddp = training.model
    one_bucket = _with_model(training, in_one_bucket(ddp))
    for _ in range(SETTLING_STEPS):
        training_step(one_bucket, batches)
    ddp._set_ddp_runtime_logging_sample_rate(
        1
    )  # every step here ends with a synchronisation, as this clock would force
    for round_ in range(rounds):
        found.exchange_on_seconds.append(_timed(training, place, batches))
        if round_:  # torch publishes a step's times with the next step that exchanges
            communication, overlap = _communication(ddp)
            found.communication_seconds.append(communication)
            found.overlap_seconds.append(overlap)
        found.exchange_off_seconds.append(_timed(training, place, batches, ddp.no_sync()))
        found.one_bucket_seconds.append(_timed(one_bucket, place, batches))
        for _ in range(3):
            progress()


def price_threads_and_replicas(
    training: Training, place: Place, batches: Sequence[Batch], rounds: int, found: RankAnatomy, progress: Callable
) -> None:
    """DP: whole steps as torch runs them, in kept threads, from one thread, and with kept replicas, in turn.

    The first kind less each other one says what the other does without: threads that are new in every step, threads at
    all, replicas that are made anew. The seconds are left in `found`.
    """
    model = training.model
    with ThreadPoolExecutor(len(model.device_ids), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        kinds = {
            "new_threads": nullcontext,
            "kept_threads": lambda: _applied(model, pool.map),
            "one_thread": lambda: _applied(model, map),
            "kept_replicas": lambda: kept_replicas(model),
        }
        for kind in kinds.values():  # what the first step of its kind must settle
            _timed(training, place, batches, kind())
        for _ in range(rounds):
            for name, kind in kinds.items():
                getattr(found, f"{name}_seconds").append(_timed(training, place, batches, kind()))
                progress()


@contextmanager
def _applied(model: nn.DataParallel, apply: Callable) -> Iterator[None]:
    """While open, the replicas of `model` go forward by `apply(function, replicas, inputs, kwargs)` instead of in new
    threads, as torch's `parallel_apply` does it."""

    def parallel_apply(replicas: Sequence[nn.Module], inputs: Sequence[tuple], kwargs: Sequence[dict]) -> list:
        with_gradient = torch.is_grad_enabled()  # known to this thread alone

        def forward(number: int) -> object:
            device = torch.cuda.device(model.device_ids[number]) if torch.cuda.is_initialized() else nullcontext()
            with torch.set_grad_enabled(with_gradient), device:
                output = replicas[number](*inputs[number], **kwargs[number])
            return Shard(replicas[number], output) if isinstance(model, EmulatedDataParallel) else output

        return list(apply(forward, range(len(replicas))))

    model.parallel_apply = parallel_apply
    try:
        yield
    finally:
        del model.parallel_apply


@contextmanager
def kept_replicas(model: nn.DataParallel) -> Iterator[None]:
    """While open, `model` runs replicas that were made once."""
    replicas = model.replicate(model.module, model.device_ids)
    model.replicate = lambda module, device_ids: replicas[: len(device_ids)]
    try:
        yield
    finally:
        del model.replicate


def _timed(
    training: Training, place: Place, batches: Sequence[Batch], around: AbstractContextManager | None = None
) -> float:
    """Seconds of one step that begins with idle devices, on all ranks at once, and ends when they are idle again."""
    with around or nullcontext():  # no_sync: the forward belongs inside, too
        place.synchronize()
        barrier()
        before = mark(place.first)
        training_step(training, batches)
        after = mark(place.first)
        place.synchronize()
    return round(seconds_between(before, after), 7)


def _with_model(training: Training, model: DistributedDataParallel) -> Training:
    """The same training of another model, with an optimizer of the same kind."""
    if training.config.compile:
        model.compile()
    optimizer = type(training.optimizer)(bare(model).parameters(), **training.optimizer.defaults)
    return Training(model, optimizer, training.loader, training.config)


def _communication(ddp: DistributedDataParallel) -> tuple[float, float]:
    """Seconds of all-reduce, and of it beside the backward pass, in the last step that torch has published."""
    logged = ddp._get_ddp_logging_data()
    nanoseconds = (logged.get("backward_comm_time", 0), logged.get("backward_compute_comm_overlap_time", 0))
    return tuple(max(0, value) / 1e9 for value in nanoseconds)


def _bucket_bytes(ddp: DistributedDataParallel) -> list[int]:
    logged = ddp._get_ddp_logging_data()
    sizes = logged.get("rebuilt_bucket_sizes") or logged.get("bucket_sizes", "")
    return [int(size) for size in sizes.split(",") if size.strip()]
