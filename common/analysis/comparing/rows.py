"""A row of the comparison: one configuration, its runs pooled; and what it is called, until a language says it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Self

from common.analysis.comparing.device_use import Energy, PeakMemory, energy_by_device, energy_of, peaks_by_device
from common.analysis.comparing.facts import OTHER_FACTS, Facts, configuration, ddp_flags
from common.analysis.comparing.speedup import ENOUGH_RUNS
from common.analysis.reading.runs import Run
from common.analysis.reading.step_profile import StepProfile
from common.analysis.statistics.estimates import Estimate, mean_of_runs
from common.messages import Message, message
from common.records import METHODS, EnvironmentRecord, Method, Record


@dataclass(frozen=True)
class RowName:
    """`DDP × 2 on 2 nodes (b) with --one-bucket`."""

    method: Method
    devices: int
    nodes: int = 1
    letter: str = ""
    """Tells rows of one method on as many devices apart."""
    options: str = ""
    """The flags of DDP that were tried here."""
    is_valid: bool = True

    def __str__(self) -> str:
        """As the CSV files name it, in no language: `ddp x2 nodes=2 b --one-bucket`."""
        parts = [self.method, f"x{self.devices}" if METHODS[self.method].is_parallel else "",
                 f"nodes={self.nodes}" if self.nodes > 1 else "", self.letter, self.options,
                 "" if self.is_valid else "(not valid)"]  # fmt: skip
        return " ".join(filter(None, parts))

    def as_message(self, single: str = "row.single") -> Message:
        """As sentences have it; `row.single_within` in the middle of one."""
        name = message(f"row.{self.method}" if METHODS[self.method].is_parallel else single, devices=self.devices)
        parts = {"on_nodes": self.nodes > 1, "letter": self.letter, "options": self.options,
                 "not_valid": not self.is_valid}  # fmt: skip
        for id, is_there in parts.items():
            if is_there:
                name = message(f"row.{id}", row=name, nodes=self.nodes, letter=self.letter, options=self.options)
        return name


@dataclass(eq=False)
class Row:
    """One configuration: a method on some devices, run once or more."""

    runs: list[Run]
    """The newest last."""
    probed: Sequence[EnvironmentRecord] = ()
    """Records of step 01 with probes, the newest last."""
    name: RowName | None = None
    """Unique within the group."""
    variant: Facts | None = None
    """The facts that tell this row from others of the same method and devices."""
    baseline: Self | None = None
    """The single-device row of the same group."""
    speed_up: Estimate | None = None
    """Throughput over that of the baseline; None without one, and where withheld."""
    impossible_efficiency: Estimate | None = None
    """The scaling efficiency, where its whole interval (without one, its value) is above what can be."""
    default_options_row: Self | None = None
    """The row that differs in nothing but that DDP has its default options; None for such a row itself, for other
    methods, and where it was not run."""

    @property
    def record(self) -> Record:
        """The newest run's record, which stands for the configuration."""
        return self.runs[-1].record

    @property
    def method(self) -> Method:
        """Single, DP or DDP."""
        return self.record.method

    @property
    def is_parallel(self) -> bool:
        """Whether its method may train on several devices, be it on one here; else it is what others compare with."""
        return METHODS[self.method].is_parallel

    @property
    def devices(self) -> int:
        """How many trained together."""
        return self.record.world.devices

    @property
    def on_gpu(self) -> bool:
        """Whether its devices are GPUs; else CPU cores."""
        return self.record.world.device_kind == "cuda"

    @property
    def is_valid(self) -> bool:
        """False where a self-check says that the speed cannot be: then every speed is withheld."""
        return not self.failed_check

    @cached_property
    def failed_check(self) -> str:
        """That self-check: of the runs, or `efficiency`; nothing where there is none."""
        return self.runs[-1].failed_check or ("efficiency" if self.impossible_efficiency else "")

    @cached_property
    def seconds_per_sample(self) -> Estimate | None:
        """Pooled over the runs; None where withheld."""
        return mean_of_runs([run.seconds_per_sample for run in self.runs]) if self.is_valid else None

    @property
    def rate(self) -> Estimate | None:
        """The throughput in what the model counts, tokens or samples; `rate_form` writes it."""
        return self.throughput.scaled(self.record.config.rate[1]) if self.throughput else None

    @property
    def rate_form(self) -> str:
        """The format of `rate`."""
        return self.record.config.rate[0]

    @property
    def missing_runs(self) -> int:
        """So many more are needed before the row may win or lose."""
        return max(0, ENOUGH_RUNS - len(self.runs))

    @property
    def throughput(self) -> Estimate | None:
        """Samples per second."""
        return self.seconds_per_sample.inverse() if self.seconds_per_sample else None

    @property
    def step(self) -> Estimate | None:
        """Seconds of a step: the mean over the measured epochs. Steps of experiments are others, and not as long."""
        return self.seconds_per_sample and self.seconds_per_sample.scaled(self.record.config.global_batch_size)

    @cached_property
    def typical_step(self) -> float:
        """Seconds of a step, the mean of the runs' medians."""
        return fmean(run.times.typical_step.value for run in self.runs)

    @property
    def epoch_time(self) -> Estimate | None:
        """Seconds for a whole epoch: a resumed run may have begun with the rest of one."""
        samples = max(epoch.samples for run in self.runs for epoch in run.record.epochs)
        return self.seconds_per_sample and self.seconds_per_sample.scaled(samples)

    @property
    def true_devices(self) -> bool:
        """False where several replicas share a device, so that no efficiency can be formed."""
        return not (self.record.world.shared or self.record.world.oversubscribed)

    @property
    def efficiency(self) -> Estimate | None:
        """Speed-up / devices, 1 being ideal; None where devices are shared or oversubscribed."""
        return self.speed_up.scaled(1 / self.devices) if self.speed_up and self.true_devices else None

    @cached_property
    def profile(self) -> StepProfile | None:
        """Of the newest run that has one; None where parity failed, for then it is no step of this model."""
        return next((run.profile for run in reversed(self.runs) if run.profile), None) if self.is_valid else None

    @property
    def data_wait_share(self) -> float:
        """Share of the time that went into waiting for data, in the run that waited longest."""
        return max(run.times.data_wait_share for run in self.runs)

    @cached_property
    def memory(self) -> list[PeakMemory]:
        """Every device or process that reported a peak, device 0 first; over several runs the highest."""
        return peaks_by_device(self.runs)

    @cached_property
    def device_energy(self) -> dict[tuple[str, int], Energy]:
        """Each GPU that was measured, by host and index."""
        return energy_by_device(self.runs)

    @cached_property
    def energy(self) -> Energy | None:
        """All devices together; None where one of them was not measured."""
        return energy_of(self.runs)

    @property
    def rounds(self) -> int:
        """Runs, as far as more of them make a row better measured."""
        return min(len(self.runs), ENOUGH_RUNS)

    @cached_property
    def options(self) -> str:
        """The flags of DDP that are not its default ones; nothing for other methods."""
        return ddp_flags(self.record.config.ddp)

    @cached_property
    def facts(self) -> Facts:
        """What rows of one group may differ in, as far as it is known."""
        known = configuration(self.record)
        return {name: known[name] for name in OTHER_FACTS if known[name] is not None}
