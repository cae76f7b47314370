"""The extra steps after the measured epochs: phases, the price of DDP's exchange, and a trace to look into."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from common.examining.phases import PhaseClock, bytes_moved, instruments
from common.machine.ranks import barrier, gathered
from common.measuring.clocks import mark, seconds_between
from common.records import Anatomy, RankAnatomy
from common.training.batch import Batch
from common.training.distributed import distributed_data_parallel
from common.training.trainer import Trainer

TRACED_STEPS = 3
SETTLING_STEPS = 2  # DDP lays its buckets anew after its first step


def dissect(trainer: Trainer, steps: int) -> Anatomy:
    """Take `steps` steps apart; under DDP, three times as many more tell what its exchange adds.

    Weights that come out of this are of no use: steps without exchange let the ranks drift apart.
    """
    model, place = trainer.model, trainer.run.place
    upcoming = trainer.whole_steps()
    clock = PhaseClock(place)
    overlaps: list[tuple[float, float]] = []
    is_ddp = isinstance(model, DistributedDataParallel)
    if is_ddp:
        model._set_ddp_runtime_logging_sample_rate(1)
    barrier()
    with instruments(model, clock):
        for _ in range(1 + steps):
            with clock.step():
                with clock.phase("data wait"):
                    batches = next(upcoming)
                trainer.step(batches, clock.phase)
            trainer.run.progress.advance()
            if is_ddp:
                overlaps.append(_communication(model))
    mine = clock.read(place.rank)
    anatomy = Anatomy(
        steps=steps, bytes_moved=bytes_moved(model, batches, _logits_bytes(trainer), trainer.run.config.ddp)
    )
    if is_ddp:
        # torch publishes a step's times with the next step: the first entry is of the warm-up, the second settles.
        mine.communication_seconds = [communication for communication, _ in overlaps[2:]]
        mine.overlap_seconds = [overlap for _, overlap in overlaps[2:]]
        anatomy.bucket_bytes = _bucket_bytes(model)
        price_exchange(trainer, batches, steps, mine)
    anatomy.ranks = gathered(mine)
    return anatomy


def step_count(model: nn.Module, steps: int) -> int:
    """Optimizer steps that `dissect` takes, for the progress bar."""
    return 1 + (4 if isinstance(model, DistributedDataParallel) else 1) * steps


def price_exchange(trainer: Trainer, batches: tuple[Batch, ...], pairs: int, found: RankAnatomy) -> None:
    """Whole steps with the exchange, without it, and with one bucket, in turn, so that drift hits all three alike.

    All ranks start each step together. The seconds are left in `found`.
    """
    ddp, place = trainer.model, trainer.run.place
    one_bucket = _in_one_bucket(trainer)
    for _ in range(SETTLING_STEPS):
        one_bucket.step(batches)

    def timed(trainer: Trainer, without_exchange: bool = False) -> float:
        place.synchronize()
        barrier()
        before = mark(place.first)
        with ddp.no_sync() if without_exchange else nullcontext():  # the forward belongs inside, too
            trainer.step(batches)
        after = mark(place.first)
        place.synchronize()
        trainer.run.progress.advance()
        return round(seconds_between(before, after), 7)

    for _ in range(pairs):
        found.exchange_on_seconds.append(timed(trainer))
        found.exchange_off_seconds.append(timed(trainer, without_exchange=True))
        found.one_bucket_seconds.append(timed(one_bucket))


def _in_one_bucket(trainer: Trainer) -> Trainer:
    """A copy of the model in a DDP that exchanges all gradients at once, when the last one is ready."""
    run = trainer.run
    classifier = copy.deepcopy(trainer.classifier)
    options = run.config.ddp.model_copy(update={"one_bucket": True, "bucket_cap_mb": None})
    model = distributed_data_parallel(classifier, run.place, options)
    if run.config.compile:
        model.compile()
    return Trainer(model, classifier, trainer.loader, run)


def trace(trainer: Trainer, folder: Path) -> Path:
    """A Chrome trace of a few steps of this rank, `folder`/<run>_rank<r>.json.gz, with the phases as named ranges.

    In a pass of its own: the profiler slows down what it watches.
    """
    folder.mkdir(parents=True, exist_ok=True)
    place, upcoming = trainer.run.place, trainer.whole_steps()
    activities = [torch.profiler.ProfilerActivity.CPU]
    if place.kind == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    clock = PhaseClock(place)
    barrier()
    with instruments(trainer.model, clock):
        for number in range(1 + TRACED_STEPS):
            if number == 1:  # the profiler's own start has been paid for by then
                profiler = torch.profiler.profile(activities=activities)
                profiler.start()
            with clock.step():
                with clock.phase("data wait"):
                    batches = next(upcoming)
                trainer.step(batches, clock.phase)
        place.synchronize()
        profiler.stop()
    path = folder / f"{trainer.run.run_id}_rank{place.rank}.json.gz"
    profiler.export_chrome_trace(str(path))
    return path


def _communication(ddp: DistributedDataParallel) -> tuple[float, float]:
    """Seconds of all-reduce, and of it beside the backward pass, in the last step that torch has published."""
    logged = ddp._get_ddp_logging_data()
    nanoseconds = (logged.get("backward_comm_time", 0), logged.get("backward_compute_comm_overlap_time", 0))
    return tuple(max(0, value) / 1e9 for value in nanoseconds)


def _bucket_bytes(ddp: DistributedDataParallel) -> list[int]:
    logged = ddp._get_ddp_logging_data()
    sizes = logged.get("rebuilt_bucket_sizes") or logged.get("bucket_sizes", "")
    return [int(size) for size in sizes.split(",") if size.strip()]


def _logits_bytes(trainer: Trainer) -> int:
    config = trainer.run.config
    return config.global_batch_size * len(trainer.classifier.head_weights) * config.num_classes * 4
