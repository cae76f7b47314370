"""The named calls of 02, 03 and 04: each of them measures something, enters it into the record and tells the reader."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from statistics import median

from rich.markup import escape
from torch import Tensor
from torch.utils.data import DataLoader

from common.command_line.options import TrainingOptions
from common.command_line.resolve import DEFAULTS, resolve
from common.command_line.terminal import tell
from common.console import closing, run_lines, screen
from common.examining import experiments, instruments, parity
from common.formats import printable
from common.hangs.hang_watch import HangWatch
from common.hangs.watchdog import CollectiveWatchdog
from common.machine.devices import LocalDevices, barrier, default_workers
from common.machine.precision import default_precision
from common.measuring.clocks import CoreLosses, CoreWait, StepClock
from common.measuring.device_use import DeviceMeter, static_memory
from common.messages import Message, message
from common.records import Epoch, ProfileRecord
from common.records.disk import keep_unfinished
from common.running.checkpoints import Checkpoints
from common.running.recorder import Recorder, ScalarLog
from common.running.resumption import find_start, restore
from common.running.start import carried_over, interrupt_if_unheard
from common.sentences import Sentences, language_of
from common.training.batch import Batch
from common.training.data import bytes_of_sample, find_data
from common.training.loader import ContinuousLoader, validation_loader
from common.training.training import TrainedEpoch, Training, described_optimizer, validate


class ProfileError(Exception):
    """A rank has failed while steps were profiled. Its argument is the record of the run without them."""


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
        self._meter = DeviceMeter(devices, pids)
        record.devices = self._meter.uses()
        self.hangs = HangWatch(record.run_id, devices, pids)
        self.watch: CollectiveWatchdog | None = None  # over NCCL: for the time that exchanges take
        self.words = Sentences(options.lang or language_of())
        self.console = screen.open_console(devices.rank, options.quiet)
        self.progress = screen.TrainingProgress(self.console)
        self._scalars = ScalarLog(options.tensorboard, record.run_id, devices.rank)
        self._clock = StepClock(devices)

    def prepare(self, training: Training) -> None:
        """Take up a checkpoint; announce the run; compare the wrapped model's gradient with one device's; compile the
        model; and warm up: the allocator, cuDNN and DDP's buckets settle in steps that are not counted."""
        self._training, here, record = training, self.local_devices, self.recorder.record
        self._start = find_start(self.options, self.config, here)
        restore(training, here, self._start)
        record.resumed = self._start.resumed
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
        steps, parts = self.config.warmup_steps, self.config.accumulation_steps
        self.progress.phase(self.words.translate("warm-up"), steps)
        training.loader.begin(self._start.epoch, self._start.steps_done * parts, uncounted=steps * parts)
        for batches in islice(training.endless_steps(), steps):
            training.step(batches)
            self.progress.advance()
        self._clock.settle()
        restore(training, here, self._start)
        training.loader.wait()  # so that the first batch is there before the clock starts

    def epochs(self) -> Iterator[int]:
        """The numbers of the epochs to train. From the first to the last is watched what the devices hold and draw."""
        training, here, record, words = self._training, self.local_devices, self.recorder.record, self.words
        self._checkpoints = Checkpoints(self.options, here, record.run_id, training, self._clock)
        self._validation: DataLoader | None = validation_loader(self.config, here)
        # Of CUDA graphs, torch counts what they use while they are recorded only.
        self._meter.start(keep_peaks=self.config.compile_mode != "default")
        steps_before = self._start.steps_done
        for number in range(self._start.epoch, self.config.epochs + 1):
            title = words.translate("epoch {epoch}/{epochs}", epoch=number, epochs=self.config.epochs)
            self.progress.phase(title, training.steps_per_epoch - steps_before)
            self._epoch = TrainedEpoch(number, steps_before)
            yield number
            steps_before = 0
        self._meter.stop()
        record.devices = self._meter.uses()
        record.static_memory = static_memory(training.module, training.optimizer)
        with suppress(RuntimeError):  # what was measured shall not be lost for an image that cannot be read
            self.recorder.trace.loader_start_seconds = round(training.loader.start_seconds(), 7)

    def timed(self, loader: ContinuousLoader) -> Iterator[tuple[Batch, ...]]:
        """The micro-batches of one step after another, by the clock: what is left of the epoch for this run.

        A step lasts from the end of the one before until the next one is asked for. After the last one, the epoch goes
        into the record and onto the screen, and the validation images are classified, if there is a val/.
        """
        barrier()  # the ranks' clocks start together
        with self._meter.drawing():
            core_wait = CoreWait()
            yield from self._clock.time_steps(self._training.steps_of(loader), self._after_step)
            core_losses = core_wait.losses()
        self._epoch.read_losses()
        epoch = self.recorder.enter_epoch(self._epoch, self._clock.times, core_losses)
        self._show(epoch, core_losses)

    def log(self, losses: list[Tensor]) -> None:
        """Keep the losses of a step, unread: reading one would make the host wait for the device."""
        self._epoch.log(losses)

    def profile(self, training: Training) -> None:
        """Where a step goes: extra steps, which change the weights and are no part of any figure above."""
        here, words, asked = self.local_devices, self.words, self.options.anatomy_steps
        if steps := DEFAULTS[here.kind]["anatomy_steps"] if asked is None else asked:
            self._profile_steps(training, steps)
        if not self.options.trace:
            return
        path = self.options.results_dir / "traces" / f"{self.recorder.record.run_id}_rank{here.rank}.json.gz"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            instruments.profiled_steps(training, here, steps=3).export_chrome_trace(str(path))
            text = words.translate(
                "trace: {path} (one per rank); open it in https://ui.perfetto.dev, which keeps it local", path=path
            )
        except OSError as error:
            text = words.translate("trace: not written ({problem})", problem=error.strerror or error)
        self.progress.line(escape(printable(text)))

    def _profile_steps(self, training: Training, steps: int) -> None:
        """Enter into the record where a step goes, or why that is not known, and say so. Raises `ProfileError` where a
        rank fails among several."""
        here, words, record = self.local_devices, self.words, self.recorder.record
        seconds = median(self._clock.times.steps)
        count = experiments.step_count(training.model, steps, here.kind == "cuda", seconds)
        self.progress.line(closing.profile_line(count, seconds, words))
        self.progress.phase(words.translate("where a step goes"), count)
        # Who fails alone cannot ask the others for their times any more: they are gathered before.
        measured = self.recorder.record_of_all_ranks() if here.world.processes > 1 else None
        anatomy = ProfileRecord(steps=steps)
        try:
            for anatomy in experiments.profile_steps(training, here, steps, self.progress.advance):
                record.anatomy = anatomy
        except Exception as error:  # out of memory, most likely: one bucket takes a second model
            who = f"rank {here.rank}: " if measured else ""
            further = " further" if record.anatomy else ""
            experiments.add_note(anatomy, f"not measured{further}: {who}{str(error) or type(error).__name__}")
            record.anatomy = anatomy
            if measured:
                raise ProfileError(measured.model_copy(update={"anatomy": anatomy})) from error
        if anatomy.threads_of_forward:
            for line in closing.new_thread_lines_of(anatomy.threads_of_forward, words):
                self.progress.line(line)
        if anatomy.note:
            self._warn([message("where a step goes: {note}", note=anatomy.note)])

    def _show(self, epoch: Epoch, core_losses: CoreLosses) -> None:
        """Say what came out of an epoch; validate; and keep all that is known by now, in case the run is killed."""
        config, words, trained, times = self.config, self.words, self._epoch, self._clock.times
        self.progress.line(run_lines.epoch_line(epoch, config, sum(times.steps), words))
        if epoch.mean_loss is None:
            self._warn([run_lines.LOSS_IS_LOST])
        quota, oversubscribed = self.recorder.record.environment.cpu_quota, self.local_devices.world.oversubscribed
        self._warn(core_losses.warnings(times.host, quota, oversubscribed))
        self._warn(self.recorder.new_unreadable(name for batch in trained.batches for name in batch.unreadable))
        if self._validation:
            epoch.validation, unreadable = validate(self._training.model, self._validation, self.local_devices.device)
            self.progress.line(run_lines.validation_line(epoch.validation, words))
            self._warn(self.recorder.new_unreadable(unreadable))
        self._scalars.epoch(epoch, trained.losses, times.steps, config, self._meter.peaks())
        if self.local_devices.rank == 0:
            keep_unfinished(self.options.results_dir, self.recorder.unfinished_record())

    def close(self) -> None:
        """Take the bar off the screen and write what is left of the logs; nobody waits for an exchange any more."""
        if self.watch:
            self.watch.stop()
        self.progress.close()
        self._scalars.close()

    def _after_step(self, micro_batches: tuple[Batch, ...]) -> None:
        """Keep what was trained, move the bar, and write a checkpoint where one is due."""
        self._epoch.add_step(micro_batches)
        interrupt_if_unheard()
        self.progress.advance()
        if problem := self._checkpoints.after_step(self._epoch.number, self._epoch.steps_done):
            text = self.words.translate("checkpoint not written: {problem}", problem=printable(problem))
            self.progress.line(f"[yellow]{escape(text)}")
            if self.options.quiet:
                tell(text)

    def _warn(self, texts: Iterable[Message]) -> None:
        for text in texts:
            self.progress.line(run_lines.warning(self.words.text(text)))
