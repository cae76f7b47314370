"""The record of a run with the numbers that follow from its raw times, and a record of what was predicted of runs."""

from itertools import accumulate, compress, pairwise
from typing import Literal, Self

from pydantic import model_validator

from common.records.fields import AnyRecord, Count, FailFastList, PositiveCount, RecordModel, Seconds, Texts
from common.records.host import DeviceUse, Environment, World, joint_model
from common.records.methods import METHODS, Method, Step
from common.records.outcome import Epoch, Failure, Launch, Parity, RankTrace, Resumed, StaticMemory
from common.records.settings import RunConfig
from common.records.step_phases import ProfileRecord

FlopKind = Literal["convolution", "matmul"]
"""What torch counts; in precision tf32 the two run in different ones."""


class Record(AnyRecord):
    """One launch of 02, 03 or 04: one JSON file."""

    kind: Literal["run"] = "run"
    step: Step
    method: Method
    status: Literal["completed", "failed", "interrupted"]
    failure: Failure | None = None
    command: str
    started_at: str
    """UTC, ISO 8601."""
    finished_at: str
    config: RunConfig
    environment: Environment
    world: World
    devices: FailFastList[DeviceUse]
    static_memory: StaticMemory | None = None
    flops_per_sample: Count | None = None
    """Floating-point operations of forward and backward, counted by torch on the very model; None where it cannot."""
    flops_by_kind: dict[FlopKind, Count] | None = None
    """The same, split into convolutions and matrix products, which need not run in one precision."""
    bytes_per_sample: Count | None = None
    """Of inputs and targets, as they leave the loader; None in older records."""
    backend_class: str | None = None
    """The class that carried the exchange between processes: torch 2.15 rewrote NCCL's under the old name."""
    optimizer: str = ""
    """Its class and numbers, as torch has them; nothing in older records, which used SGD."""
    parity: Parity | None = None
    resumed: Resumed | None = None
    launch: Launch | None = None
    """The place of this run in a campaign; None where it was started by hand."""
    loader_runs_on: bool = False
    """Whether the loader's workers ran on from epoch to epoch; in older records they started anew (`is_steady`)."""
    unreadable_files: Texts = []
    """Images that could not be decoded; the next readable one took the place of each."""
    epochs: FailFastList[Epoch] = []
    ranks: FailFastList[RankTrace] = []
    anatomy: ProfileRecord | None = None
    """The profile of extra steps; the file calls it by its first name."""

    @property
    def epoch_slices(self) -> list[slice]:
        """Of the lists with an entry a step, the part of each epoch."""
        ends = accumulate(epoch.steps for epoch in self.epochs)
        return [slice(end - epoch.steps, end) for end, epoch in zip(ends, self.epochs, strict=True)]

    @property
    def is_steady(self) -> list[bool]:
        """Whether each step counts for speeds. In older records the first one of an epoch waited until the loader had
        started: as long whatever the epoch's length. It is left out where its epoch has others."""
        places = [(place, epoch.steps) for epoch in self.epochs for place in range(epoch.steps)]
        return [self.loader_runs_on or place > 0 or steps == 1 for place, steps in places]

    @property
    def measured_steps(self) -> list[float]:
        """Seconds of each measured step of the run, by the times of its ranks.

        A step takes as long as its slowest rank: it ends when the last rank has ended it. The ranks of an epoch start
        together, so rank r ends step i at the sum of its first i step times, and the run's step is the difference of
        the latest ends. (The maximum of the ranks' own step times would count lateness twice whenever ranks take
        turns.)
        """
        seconds: list[float] = []
        for part in self.epoch_slices:
            ends_of_ranks = zip(*(accumulate(rank.step_seconds[part]) for rank in self.ranks), strict=True)
            seconds += [end - start for start, end in pairwise([0.0, *map(max, ends_of_ranks)])]
        return seconds

    @property
    def epoch_seconds(self) -> list[float]:
        """Seconds of each measured epoch: the sum of its steps, which is the slowest rank's."""
        return [max(sum(rank.step_seconds[part]) for rank in self.ranks) for part in self.epoch_slices]

    @property
    def steady_samples(self) -> int:
        """Samples of the steps that count for speeds; a first step has a whole global batch, whatever the last has."""
        left_out = self.is_steady.count(False) * self.config.global_batch_size
        return sum(epoch.samples for epoch in self.epochs) - left_out

    @property
    def throughput(self) -> float | None:
        """Samples per second in steady state: Σ samples / Σ seconds of the steps that count; None before the first
        epoch has ended, and where the samples cannot be."""
        seconds, samples = sum(compress(self.measured_steps, self.is_steady)), self.steady_samples
        return samples / seconds if seconds > 0 and samples > 0 else None

    @property
    def devices_there(self) -> int:
        """Devices of the run's kind on its machine: GPUs, or CPU cores."""
        return len(self.environment.gpus) if self.world.device_kind == "cuda" else self.environment.cpu_cores

    @property
    def is_unfinished(self) -> bool:
        """Whether this was kept while the run went on, and nothing came after it."""
        return self.failure is not None and self.failure.kind == "unfinished"

    @property
    def failed_parity(self) -> bool:
        """Whether the parallel gradient was wrong, so that the run's speed means nothing."""
        return self.parity is not None and self.parity.outcome == "failed"

    @model_validator(mode="after")
    def _names_unlike_devices(self) -> Self:
        """Records of older versions of the lab have the first device's model for all."""
        names = [device.name for device in self.devices]
        if self.world.device_kind == "cuda" and len(set(names)) > 1:
            self.world = self.world.model_copy(update={"device_model": joint_model(names)})
        return self

    @model_validator(mode="after")
    def _lengths_agree(self) -> Self:
        steps = sum(epoch.steps for epoch in self.epochs)
        for trace in self.ranks:
            if len(trace.step_seconds) != steps or len(trace.data_wait_seconds) != steps:
                raise ValueError(f"rank {trace.rank}: {len(trace.step_seconds)} step times for {steps} steps")
            if not len(trace.host_epoch_seconds) == len(trace.samples) == len(trace.checksums) == len(self.epochs):
                raise ValueError(f"rank {trace.rank}: per-epoch lists do not match {len(self.epochs)} epochs")
            if {len(trace.core_wait_seconds), len(trace.steal_seconds)} - {0, len(self.epochs)}:
                raise ValueError(f"rank {trace.rank}: waits for a core do not match {len(self.epochs)} epochs")
            if len(trace.steal_seconds) != len(trace.busy_core_seconds):
                raise ValueError(f"rank {trace.rank}: stolen time without the time that the cores worked")
        ranks = [trace.rank for trace in self.ranks]
        if len(set(ranks)) < len(ranks):
            raise ValueError(f"a rank twice among {ranks[:8]}")
        if any(later.epoch != epoch.epoch + 1 for epoch, later in pairwise(self.epochs)):
            raise ValueError("epochs that do not follow each other")
        if self.status == "completed" and not (self.epochs and self.ranks):
            raise ValueError("a completed run without epochs")
        if self.status == "completed" and self.failure:
            raise ValueError("a completed run with a failure")
        return self

    @model_validator(mode="after")
    def _method_and_world_agree(self) -> Self:
        """Of completed runs alone: one that failed may not have had its devices yet, and is never compared with any."""
        if self.status != "completed":
            return self
        method, devices, processes = METHODS[self.method], self.world.devices, self.world.processes
        if self.step != method.step:
            raise ValueError(f"method {self.method} by step {self.step}, which is that of step {method.step}")
        if devices > 1 and not method.is_parallel:
            raise ValueError(f"method {self.method} on {devices} devices")
        if processes != method.processes(devices):
            raise ValueError(f"method {self.method} on {devices} devices in {processes} processes")
        if len(self.ranks) != processes:
            raise ValueError(f"times of {len(self.ranks)} ranks for {processes} processes")
        return self


class StepPrediction(RecordModel):
    """The mean step of one configuration."""

    model: str
    method: Method
    devices: PositiveCount
    per_device_batch_size: PositiveCount
    seconds: Seconds

    def is_of(self, record: Record) -> bool:
        """Whether a run trained this configuration."""
        return (self.model, self.method, self.devices, self.per_device_batch_size) == (
            record.config.model, record.method, record.world.devices, record.config.per_device_batch_size
        )  # fmt: skip


class PredictionRecord(AnyRecord):
    """What step 05 predicted when asked to (`--predict`), and when: runs that came later show that it came first."""

    kind: Literal["prediction"] = "prediction"
    started_at: str
    """UTC, ISO 8601."""
    steps: FailFastList[StepPrediction]
