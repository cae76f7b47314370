"""The named calls of 02, 03 and 04: each of them measures something, enters it into the record and tells the reader."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from statistics import median

from rich.markup import escape
from torch.utils.data import DataLoader

from common.command_line.options import TrainingOptions
from common.command_line.resolve import DEFAULTS, resolve
from common.command_line.streams import tell
from common.console import screen
from common.console.plan import show_plan
from common.examining import experiments, parity
from common.formats import printable
from common.hangs.hang_watch import HangWatch
from common.hangs.watchdog import CollectiveWatchdog
from common.machine import devices
from common.machine.devices import Place
from common.machine.ranks import backend_class, barrier
from common.measuring import memory
from common.measuring.clocks import StepClock
from common.measuring.core_wait import CoreWait, Losses
from common.measuring.device_use import device_uses
from common.measuring.gpu_readings import EnergyMeter, GpuSampler, idle_watts
from common.records import MAX_FINITE, Epoch
from common.records.disk import keep_unfinished
from common.running import retry
from common.running.checkpoints import Checkpoints
from common.running.extra_steps import take_apart, trace
from common.running.failures import unfinished
from common.running.interruptions import interrupt_if_unheard
from common.running.recorder import Recorder
from common.running.resumption import Start, find_start, restore
from common.running.tensorboard import ScalarLog
from common.sentences import Sentences, language_of
from common.training import image_folder
from common.training.data import checksum, expected_indices, validation_loader
from common.training.epoch import EpochResult, measured_epoch
from common.training.step import Training, training_step
from common.training.validation import validate


class MeasuredRun:
    """One launch of a training script, on this rank."""

    def __init__(self, options: TrainingOptions, place: Place) -> None:
        self.options, self.place = options, place
        self.config = resolve(
            options,
            place.world,
            precision=devices.default_precision(place.kind),
            loader_workers=devices.default_workers(place.kind),
            found=image_folder.find(options.data_dir) if options.data_dir else None,
            accumulation_steps=retry.carried_over(options),
        )
        self.recorder = Recorder(options.method, self.config, place)
        self.recorder.backend_class = backend_class()
        self.recorder.devices = device_uses(place, self.recorder.host)
        self.hangs = HangWatch(self.recorder.run_id, place, self.recorder.pids)
        self.watch: CollectiveWatchdog | None = None
        """Over NCCL: for the time that exchanges take."""
        self.words = Sentences(options.lang or language_of())
        self.console = screen.open_console(place.rank, options.quiet)
        self.progress = screen.TrainingProgress(self.console)
        self.log = ScalarLog(options.tensorboard, self.recorder.run_id, place.rank)
        self._gpus = place.indices if place.kind == "cuda" else ()
        self._idle_watts = idle_watts(self._gpus)
        self._sampler = GpuSampler(self._gpus, self.recorder.pids)
        self._clock = StepClock(place)
        self._start = Start()
        self._step_seconds: float | None = None
        """Of the newest epoch, the median."""

    def check_gradient(self, training: Training) -> None:
        """Announce the run, then compare the wrapped model's gradient with one device's, before anything is trained."""
        self._start, self.recorder.resumed = find_start(self.options, self.config, self.place)
        restore(training, self.place, self._start)
        show_plan(self.console, self.words, self.options.method, self.config, self.place.world, self.recorder.resumed)
        self.recorder.flops_by_kind = training.classifier.flops_by_kind
        found = parity.check_parity(
            training.model, training.classifier, training.loader.dataset, self.place, self.config.ddp
        )
        self.recorder.parity = found
        self.progress.line(screen.parity_line(found, self.words))

    def warm_up(self, training: Training) -> None:
        """Steps that are not counted: the allocator, cuDNN and DDP's buckets settle in them."""
        steps, parts = self.config.warmup_steps, self.config.accumulation_steps
        self.progress.phase(self.words.say("progress.warm_up"), steps)
        training.loader.begin(self._start.epoch, self._start.steps_done * parts, uncounted=steps * parts)
        for batches in islice(training.whole_steps(), steps):
            training_step(training, batches)
            self.progress.advance()
        self._clock.settle()
        restore(training, self.place, self._start)
        training.loader.wait()  # so that the first batch is there before the clock starts

    def epochs(self, training: Training) -> Iterator[int]:
        """The numbers of the epochs to train. From the first to the last is watched what the devices hold and draw."""
        if self.place.kind == "cpu" or self.config.compile_mode == "default":
            memory.reset_peaks(self.place)  # else CUDA graphs: torch counts what they use while they are recorded only
        self._joules: Counter[int] = Counter()
        self._checkpoints = Checkpoints(self.options, self.place)
        self._validation: DataLoader | None = validation_loader(self.config, self.place)
        self._sampler.start()
        yield from range(self._start.epoch, self.config.epochs + 1)
        self._sampler.stop()
        peaks = memory.read_peaks(self.place, self._sampler)
        self.recorder.devices = device_uses(
            self.place, self.recorder.host, peaks, self._sampler, self._joules, self._idle_watts
        )
        self.recorder.static_memory = memory.static_memory(training.classifier, training.optimizer)
        with suppress(RuntimeError):  # what was measured shall not be lost for an image that cannot be read
            self.recorder.trace.loader_start_seconds = round(training.loader.start_seconds(), 7)

    def train_epoch(self, training: Training, number: int) -> None:
        """Train epoch `number` by the clock, or what a checkpoint has left of it; then validate, if there is a val/."""
        done = self._start.steps_done if number == self._start.epoch else 0
        training.loader.sampler.start = done * self.config.global_batch_size // self.place.world.processes
        heading = self.words.say("progress.epoch", epoch=number, epochs=self.config.epochs)
        self.progress.phase(heading, training.steps_per_epoch - done)
        clock, energy = self._clock, EnergyMeter(self._gpus)
        barrier()  # the ranks' clocks start together
        core_wait = CoreWait()
        result = measured_epoch(training, clock, self._after_step(training, clock, number, done))
        losses = core_wait.losses()
        training.loader.sampler.start = 0
        self._joules.update(energy.joules())
        self._step_seconds = median(result.times.steps)
        self._enter(number, done, result, losses)
        if self._validation:
            found, unreadable = validate(training.model, training.classifier, self._validation, self.place.first)
            self.recorder.validated(found)
            self.progress.line(screen.validation_line(found, self.words))
            self._tell_unreadable(unreadable)
        peaks = memory.read_peaks(self.place, self._sampler)
        self.log.epoch(self.recorder.epochs[-1], result, self.config, peaks)
        if self.place.rank == 0:
            record = self.recorder.record_of_this_rank(unfinished(len(self.recorder.epochs)))
            keep_unfinished(self.options.results_dir, record)

    def take_steps_apart(self, training: Training) -> None:
        """Where a step goes: extra steps, which change the weights and are no part of any figure above."""
        asked = self.options.anatomy_steps
        steps = DEFAULTS[self.place.kind]["anatomy_steps"] if asked is None else asked
        if steps:
            count = experiments.step_count(training.model, steps, self.place.kind == "cuda")
            self.progress.line(screen.anatomy_line(count, self._step_seconds, self.words))
            self.progress.phase(self.words.say("progress.apart"), count)
            take_apart(training, self.place, steps, self.recorder, self.progress.advance)
            if self.recorder.anatomy and self.recorder.anatomy.note:
                self._warn("progress.not_apart", note=self.recorder.anatomy.note)
        if self.options.trace:
            text = trace(training, self.place, self.options.results_dir, self.recorder.run_id, self.words)
            self.progress.line(escape(printable(text)))

    def close(self) -> None:
        """Take the bar off the screen and write what is left of the logs; nobody waits for an exchange any more."""
        if self.watch:
            self.watch.stop()
        self.progress.close()
        self.log.close()

    def _after_step(self, training: Training, clock: StepClock, number: int, done: int) -> Callable[[int], None]:
        """For `measured_epoch`: moves the bar, and writes a checkpoint where one is due, off the clock."""

        def after_step(steps: int) -> None:
            interrupt_if_unheard()
            self.progress.advance()
            last = done + steps == training.steps_per_epoch
            if self._checkpoints.is_due(done + steps, last):
                with clock.paused():
                    problem = self._checkpoints.write(training, *((number + 1, 0) if last else (number, done + steps)))
                    barrier()  # or the other ranks would wait for rank 0 in the next step, by the clock
                if problem:
                    text = self.words.say("progress.no_checkpoint", problem=printable(problem))
                    self.progress.line(f"[yellow]{escape(text)}")
                    if self.options.quiet:
                        tell(text)

        return after_step

    def _enter(self, number: int, done: int, result: EpochResult, losses: Losses) -> None:
        samples = result.micro_batches * self.config.micro_batch_size
        expected = expected_indices(self.config, number, done * self.config.global_batch_size, samples)
        epoch = Epoch(
            epoch=number,
            steps=len(result.losses),
            samples=samples,
            mean_loss=result.mean_loss if abs(result.mean_loss) <= MAX_FINITE else None,
            expected_checksum=f"{checksum(expected):016x}",
            checkpoint_seconds=result.checkpoint_seconds,
        )
        self.recorder.epoch_done(epoch, result, f"{checksum(result.indices):016x}")
        self.recorder.lost(losses)
        is_synthetic = self.config.data_source == "synthetic"
        seconds = sum(result.times.steps)
        self.progress.line(screen.epoch_line(epoch, self.config.epochs, seconds, is_synthetic, self.words))
        if epoch.mean_loss is None:
            self._warn("progress.loss_is_lost")
        quota, oversubscribed = self.recorder.environment.cpu_quota, self.place.world.oversubscribed
        for id, values in losses.warnings(result.times.host, quota, oversubscribed):
            self._warn(id, **values)
        self._tell_unreadable(result.unreadable)

    def _tell_unreadable(self, files: list[str]) -> None:
        for name in self.recorder.new_unreadable(files):
            self._warn("progress.unreadable", file=printable(name))

    def _warn(self, id: str, **values: object) -> None:
        self.progress.line(screen.warning(self.words.say(id, **values)))
