"""The life of a run, the same for 02, 03 and 04: parity check, warm-up, measured epochs, anatomy."""

from __future__ import annotations

from collections import Counter

from rich.markup import escape
from torch import nn
from torch.utils.data import DataLoader

from common.examining import experiments as dissection
from common.examining import parity
from common.measuring import memory
from common.measuring.gpu_sampler import EnergyMeter, GpuSampler
from common.records import Anatomy
from common.running import checkpoints
from common.running.run import Run
from common.training.data import validation_loader
from common.training.models import Classifier
from common.training.trainer import Trainer
from common.training.validation import validate


def train(model: nn.Module, loader: DataLoader, run: Run) -> None:
    """Carry the run out, and leave in it what was measured.

    `model` is a `Classifier`, bare or wrapped in DataParallel or DistributedDataParallel; the loop does not know which.
    """
    config, place = run.config, run.place
    start, run.resumed = checkpoints.find_start(run.args, config, place.rank)
    run.announce()
    classifier = model if isinstance(model, Classifier) else model.module
    run.flops_per_sample = classifier.flops_per_sample
    run.parity_done(parity.check(model, classifier, loader.dataset, place, config.ddp))
    if config.compile:
        model.compile()  # DDP's wrapper, not the model inside: only so does torch cut the graph where its buckets end
    trainer = Trainer(model, classifier, loader, run)

    run.progress.phase("warm-up", config.warmup_steps)
    trainer.warm_up()
    checkpoints.restore(trainer, start)

    memory.reset_peaks(place)
    gpus = place.indices if place.kind == "cuda" else ()
    sampler, joules = GpuSampler(gpus, run.pids), Counter()
    sampler.start()
    kept, validation = checkpoints.Checkpoints(run.args), validation_loader(config, place)
    for epoch in range(start.epoch, config.epochs + 1):
        done = start.steps_done if epoch == start.epoch else 0
        run.progress.phase(f"epoch {epoch}/{config.epochs}", trainer.steps_per_epoch - done)
        energy = EnergyMeter(gpus)
        trainer.measured_epoch(epoch, done, kept.after_step(trainer, epoch))
        joules.update(energy.joules())
        if validation:
            run.validated(*validate(model, classifier, validation, place.first))
        run.log(memory.read_peaks(place, sampler))
    sampler.stop()
    run.measured(memory.read_peaks(place, sampler), sampler, dict(joules))
    run.static_memory = memory.static_memory(classifier, trainer.optimizer)

    if run.anatomy_steps:
        run.progress.phase("anatomy", dissection.step_count(model, run.anatomy_steps))
        run.anatomy = _dissected(trainer, run.anatomy_steps)
    if run.trace_folder:
        run.traced(dissection.trace(trainer, run.trace_folder))


def _dissected(trainer: Trainer, steps: int) -> Anatomy:
    """The anatomy, or why there is none: the epochs are measured by now, and shall not be lost for it."""
    try:
        return dissection.dissect(trainer, steps)
    except (RuntimeError, MemoryError) as error:  # out of memory, most likely: one bucket takes a second model
        reason = str(error).split("\n")[0] or type(error).__name__
        trainer.run.progress.line(f"[yellow]anatomy: not measured, {escape(reason)}")
        return Anatomy(steps=steps, note=f"not measured: {reason}")
