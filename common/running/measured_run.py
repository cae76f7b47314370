"""The named calls of 02, 03 and 04: each of them measures something, enters it into the record and tells the reader."""

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from itertools import islice
from statistics import median

from rich.markup import escape
from torch import Tensor
from torch.utils.data import DataLoader

from common.command_line.options import TrainingOptions
from common.command_line.resolve import DEFAULTS, resolve
from common.command_line.terminal import tell
from common.console import run_lines, screen
from common.examining import parity
from common.formats import printable
from common.hangs.hang_watch import HangWatch
from common.hangs.watchdog import CollectiveWatchdog
from common.machine.devices import LocalDevices, barrier, default_precision, default_workers
from common.machine.nvml import NvmlGpu
from common.measuring import device_use
from common.measuring.clocks import CoreWait, StepClock
from common.messages import Message, message
from common.records import Epoch
from common.records.disk import keep_unfinished
from common.running.checkpoints import Checkpoints
from common.running.extra_steps import take_apart, trace
from common.running.recorder import Recorder, ScalarLog, unfinished
from common.running.resumption import Start, find_start, restore
from common.running.start import carried_over, interrupt_if_unheard
from common.sentences import Sentences, language_of
from common.training.batch import Batch
from common.training.data import bytes_of_sample, find_data
from common.training.loader import ContinuousLoader, validation_loader
from common.training.training import EpochResult, TimedEpoch, Training, described_optimizer, validate


class MeasuredRun:
    """One launch of a training script, on this rank."""

    def __init__(self, options: TrainingOptions, devices: LocalDevices) -> None:
        self.options, self.local_devices = options, devices
        self.config = resolve(
            options,
            devices.world,
            precision=default_precision(devices.kind),
            loader_workers=default_workers(devices.kind),
            data=find_data(options),
            accumulation_steps=carried_over(options),
        )
        self.recorder = Recorder(options.method, self.config, devices)
        record, pids = self.recorder.record, self.recorder.pids
        record.devices = device_use.device_uses(devices)
        self.hangs = HangWatch(record.run_id, devices, pids)
        self.watch: CollectiveWatchdog | None = None  # over NCCL: for the time that exchanges take
        self.words = Sentences(options.lang or language_of())
        self.console = screen.open_console(devices.rank, options.quiet)
        self.progress = screen.TrainingProgress(self.console)
        self._scalars = ScalarLog(options.tensorboard, record.run_id, devices.rank)
        self._gpus = devices.indices if devices.kind == "cuda" else ()
        self._idle_watts = device_use.read_gpus(self._gpus, NvmlGpu.power_watts)  # nothing runs yet
        self._sampler = device_use.GpuSampler(self._gpus, pids)
        self._clock = StepClock(devices)
        self._start = Start()
        self._step_seconds: float | None = None
        """Of the newest epoch, the median."""

    def prepare(self, training: Training) -> None:
        """All that comes before the first epoch.

        Take up a checkpoint; announce the run; compare the wrapped model's gradient with one device's; compile the
        model; and warm up: the allocator, cuDNN and DDP's buckets settle in steps that are not counted.
        """
        self._training, here, record = training, self.local_devices, self.recorder.record
        self._start, record.resumed = find_start(self.options, self.config, here)
        restore(training, here, self._start)
        record.optimizer = described_optimizer(training.optimizer)
        run_lines.show_plan(self.console, self.words, record)
        record.flops_by_kind = flops = training.module.flops_by_kind
        record.flops_per_sample = sum(flops.values()) if flops else None
        record.bytes_per_sample = bytes_of_sample(training.loader.dataset)
        record.parity = parity.check_parity(training, here)
        self.progress.line(run_lines.parity_line(record.parity, self.words))
        if self.config.compile:
            # DDP's wrapper, not the model inside: only so does torch cut the graph where its buckets end.
            training.model.compile(mode=self.config.compile_mode)
        self._warm_up(training)

    def _warm_up(self, training: Training) -> None:
        steps, parts = self.config.warmup_steps, self.config.accumulation_steps
        self.progress.phase(self.words.translate("warm-up"), steps)
        training.loader.begin(self._start.epoch, self._start.steps_done * parts, uncounted=steps * parts)
        for batches in islice(training.endless_steps(), steps):
            training.step(batches)
            self.progress.advance()
        self._clock.settle()
        restore(training, self.local_devices, self._start)
        training.loader.wait()  # so that the first batch is there before the clock starts

    def epochs(self) -> Iterator[int]:
        """The numbers of the epochs to train. From the first to the last is watched what the devices hold and draw.

        After each of them: its record, and a pass over the validation images, if there is a val/.
        """
        training, here, record = self._training, self.local_devices, self.recorder.record
        if here.kind == "cpu" or self.config.compile_mode == "default":
            device_use.reset_peaks(here)  # else CUDA graphs: torch counts what they use while they are recorded only
        self._joules: Counter[int] = Counter()
        self._checkpoints = Checkpoints(self.options, here, record.run_id)
        self._validation: DataLoader | None = validation_loader(self.config, here)
        self._sampler.start()
        for number in range(self._start.epoch, self.config.epochs + 1):
            yield from self._train(number)
        self._sampler.stop()
        peaks = device_use.read_peaks(here, self._sampler)
        record.devices = device_use.device_uses(here, peaks, self._sampler, self._joules, self._idle_watts)
        record.static_memory = device_use.static_memory(training.module, training.optimizer)
        with suppress(RuntimeError):  # what was measured shall not be lost for an image that cannot be read
            self.recorder.trace.loader_start_seconds = round(training.loader.start_seconds(), 7)

    def timed(self, loader: ContinuousLoader) -> Iterator[tuple[Batch, ...]]:
        """The micro-batches of one step after another, by the clock: what is left of the epoch for this run.

        A step lasts from the end of the one before until the next one is asked for.
        """
        barrier()  # the ranks' clocks start together
        joules, core_wait = device_use.read_gpus(self._gpus, NvmlGpu.energy_joules), CoreWait()
        yield from self._epoch.steps(loader, self.config.accumulation_steps)
        self._core_losses = core_wait.losses()
        self._joules.update(device_use.joules_since(joules))

    def log(self, losses: list[Tensor]) -> None:
        """Keep the losses of a step, unread: reading one would make the host wait for the device."""
        self._epoch.log(losses)

    def profile(self, training: Training) -> None:
        """Where a step goes: extra steps, which change the weights and are no part of any figure above."""
        here, asked = self.local_devices, self.options.anatomy_steps
        if steps := DEFAULTS[here.kind]["anatomy_steps"] if asked is None else asked:
            take_apart(training, here, steps, self.recorder, self.progress, self.words, self._step_seconds)
        if self.options.trace:
            text = trace(training, here, self.options.results_dir, self.recorder.record.run_id, self.words)
            self.progress.line(escape(printable(text)))

    def _train(self, number: int) -> Iterator[int]:
        """Let the script train epoch `number`, or what a checkpoint has left of it; then enter what came out."""
        training, config, epochs = self._training, self.config, self.recorder.record.epochs
        done = self._start.steps_done if number == self._start.epoch else 0
        training.loader.first_batch = done * config.accumulation_steps
        left = training.steps_per_epoch - done
        self.progress.phase(self.words.translate("epoch {epoch}/{epochs}", epoch=number, epochs=config.epochs), left)
        self._epoch = TimedEpoch(self._clock, partial(self._after_step, number, done))
        yield number
        result = self._epoch.result()
        # It holds this run, which holds it and the loader: whatever is left of such a circle when the interpreter ends
        # waits there for the loader's workers, five seconds for each.
        del self._epoch
        training.loader.first_batch = 0
        self._step_seconds = median(result.times.steps)
        self._say(self.recorder.epoch_done(number, done, result, self._core_losses), result)
        if self._validation:
            of_epoch = validate(training.model, self._validation, self.local_devices.device)
            epochs[-1].validation, unreadable = of_epoch
            self.progress.line(run_lines.validation_line(epochs[-1].validation, self.words))
            self._tell_unreadable(unreadable)
        peaks = device_use.read_peaks(self.local_devices, self._sampler)
        self._scalars.epoch(epochs[-1], result, config, peaks)
        if self.local_devices.rank == 0:
            record = self.recorder.record_of_this_rank(unfinished(len(epochs)))
            keep_unfinished(self.options.results_dir, record)

    def close(self) -> None:
        """Take the bar off the screen and write what is left of the logs; nobody waits for an exchange any more."""
        if self.watch:
            self.watch.stop()
        self.progress.close()
        self._scalars.close()

    def _after_step(self, epoch: int, done: int, steps: int) -> None:
        """Move the bar, and write a checkpoint where one is due. `done`: steps of the epoch before this run began."""
        interrupt_if_unheard()
        self.progress.advance()
        problem = self._checkpoints.after_step(self._training, epoch, done + steps, self._clock)
        if problem:
            text = self.words.translate("checkpoint not written: {problem}", problem=printable(problem))
            self.progress.line(f"[yellow]{escape(text)}")
            if self.options.quiet:
                tell(text)

    def _say(self, epoch: Epoch, result: EpochResult) -> None:
        """Say what an epoch was like, and what disturbed it."""
        self.progress.line(run_lines.epoch_line(epoch, self.config, sum(result.times.steps), self.words))
        if epoch.mean_loss is None:
            self._warn(run_lines.LOSS_IS_LOST)
        quota, oversubscribed = self.recorder.record.environment.cpu_quota, self.local_devices.world.oversubscribed
        for warning in self._core_losses.warnings(result.times.host, quota, oversubscribed):
            self._warn(warning)
        self._tell_unreadable(result.unreadable)

    def _tell_unreadable(self, files: list[str]) -> None:
        for name in self.recorder.new_unreadable(files):
            self._warn(message("skipped {file}", file=printable(name)))

    def _warn(self, text: Message) -> None:
        self.progress.line(run_lines.warning(self.words.text(text)))
