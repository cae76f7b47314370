"""What N devices will do, from one: each with its range, what it rests on, and its error where it was run."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pandas as pd

from common.analysis.comparing.csv_files import fields_of, table_of
from common.analysis.comparing.groups import Group
from common.analysis.comparing.rows import Row, RowName
from common.analysis.predicting.inputs import MAX_DEVICES, Basis, Question, basis_of
from common.analysis.predicting.parallel_steps import Network, PredictedStep, ddp_step, dp_step
from common.content import Message, message
from common.records import Method, PredictionRecord, StepPrediction

DEFAULT_COUNTS = (2, 4, 8)
MAX_GPUS_IN_A_MACHINE = 8


@dataclass(frozen=True)
class Forecast:
    """One method on so many devices."""

    basis: Basis
    method: Method
    devices: int
    step: PredictedStep
    rests_on: Message
    """What the exchange is predicted from."""
    nodes: int = 1
    """How many hold the devices."""
    is_measured_link: bool = True
    """Whether the exchange itself was measured for so many devices."""
    measured: Row | None = None

    @property
    def memory_bytes(self) -> int | None:
        """Of the device that holds most."""
        record, on_gpu = self.basis.row.record, self.basis.row.on_gpu
        peak = max((peak.peak_bytes for peak in self.basis.row.memory), default=None)
        if peak is None or (self.method == "dp" and not on_gpu):
            return None
        if self.method == "ddp":
            # torch's allocator: buckets live from step to step, where one device has no gradients when it holds most. A
            # process on CPU cores keeps the memory of its gradients, and the buckets take its place.
            return peak + (self.basis.gradient_bytes if on_gpu else 0)
        each = record.bytes_per_sample
        if each is None:  # an older record: images of one byte a colour
            each = 3 * record.config.image_size**2
        # Device 0 holds all samples, and all outputs and their gradients, which one device has for its own.
        gathered = self.basis.row.profile.gathered_bytes or 0
        return peak + (self.devices - 1) * (record.config.per_device_batch_size * each + gathered)

    @property
    def throughput(self) -> float:
        """Samples a second."""
        return self.devices * self.basis.row.record.config.per_device_batch_size / self.step.seconds

    @property
    def efficiency(self) -> float:
        """1 is ideal."""
        return self.basis.step / self.step.seconds

    @property
    def speed_up(self) -> float:
        """Over one device."""
        return self.devices * self.efficiency

    @property
    def speed_up_range(self) -> tuple[float, float]:
        """Where the measured speed-up is expected; not above the ideal."""
        low, high = (min(1.0, self.basis.step / seconds) for seconds in (self.step.high, self.step.low))
        return low * self.devices, high * self.devices

    @property
    def name(self) -> RowName:
        """As the row that would be measured."""
        return RowName(self.method, self.devices, self.nodes)

    @property
    def measured_step(self) -> float | None:
        """Seconds of a mean step, where this very configuration was run."""
        return self.measured.step.value if self.measured else None

    @property
    def error(self) -> float | None:
        """Predicted / measured − 1."""
        return self.step.seconds / self.measured_step - 1 if self.measured_step else None

    @property
    def naive_error(self) -> float | None:
        """The same of the naive prediction: a step takes what one device's takes."""
        return self.basis.step / self.measured_step - 1 if self.measured_step else None

    @property
    def is_covered(self) -> bool | None:
        """Whether the range holds what was measured."""
        return self.step.low <= self.measured_step <= self.step.high if self.measured_step else None


@dataclass(frozen=True)
class GroupForecast:
    """All predictions of a group."""

    basis: Basis
    network: Network | None
    """What DDP exchanges gradients over, if that is known."""
    most: int
    """So many devices the link may carry: those of one machine, unless the links were given."""
    forecasts: list[Forecast]


def forecast(group: Group, question: Question) -> GroupForecast | None:
    """Predict a group's configurations; None where there is nothing to predict from."""
    basis = basis_of(group)
    if basis is None:
        return None
    on_gpu = basis.row.on_gpu
    forecasts = []
    asks_for_links = bool(question.link or question.between)
    within = question.link or basis.all_reduce or question.between
    per_node = question.per_node if question.between else MAX_DEVICES
    network = Network(within, question.between, per_node) if within else None
    cores = MAX_DEVICES if on_gpu else basis.row.record.environment.alike_cores
    most_of_dp = cores  # the devices of one machine; cores have no link
    if asks_for_links:
        most_of_dp = MAX_GPUS_IN_A_MACHINE if on_gpu and not question.between else 0
    measured = {row.devices for row in group.main_rows if row.devices > 1 and row.true_devices}
    by_default = measured.union(count for count in DEFAULT_COUNTS if count <= cores)
    for devices in question.counts or sorted(by_default):
        if network:
            nodes = network.nodes(devices)
            source = network.rests_on if devices > 1 else message("forecast.on_no_exchange")
            # Over a link that is not here nothing was measured; nodes have a link that may be here.
            run = None if question.link and nodes == 1 else _measured(group, "ddp", devices, nodes)
            step = ddp_step(basis, network, devices)
            forecasts.append(Forecast(basis, "ddp", devices, step, source, nodes, network.is_measured(devices), run))
        if 1 < devices <= most_of_dp and (step := dp_step(basis, devices, question.link)):
            if link := question.link:
                source, run = message("forecast.on_replicas_and_link", link=link.name), None
            else:
                source = message("forecast.on_replicas" if on_gpu else "forecast.on_replicas_emulated")
                run = _measured(group, "dp", devices, 1)
            forecasts.append(Forecast(basis, "dp", devices, step, source, is_measured_link=not link, measured=run))
    most = MAX_DEVICES if asks_for_links else MAX_GPUS_IN_A_MACHINE if on_gpu else cores
    return GroupForecast(basis, network, most, forecasts) if forecasts else None


def _measured(group: Group, method: Method, devices: int, nodes: int) -> Row | None:
    """The row that ran this very configuration on devices of its own, on as many nodes."""
    fits = [row for row in group.main_rows if row.is_valid and row.true_devices and not row.options
            and (row.method, row.devices, row.record.world.nodes) == (method, devices, nodes)]  # fmt: skip
    return fits[-1] if fits else None


def prediction_record(groups: Sequence[tuple[int, GroupForecast]]) -> PredictionRecord:
    """All predictions of several devices, with the time at which they were made: now."""
    now = datetime.now(UTC)
    steps = []
    for _, group in groups:
        config = group.basis.row.record.config
        steps += [StepPrediction(model=config.model, method=one.method, devices=one.devices, seconds=one.step.seconds,
                                 per_device_batch_size=config.per_device_batch_size)
                  for one in group.forecasts if one.devices > 1]  # fmt: skip
    run_id = f"05_prediction-{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
    return PredictionRecord(run_id=run_id, started_at=now.isoformat(timespec="seconds"), steps=steps)


def forecast_table(groups: Sequence[tuple[int, GroupForecast]]) -> pd.DataFrame:
    """Every prediction of every group, the groups by their numbers on the page (docs/tables.md)."""
    return table_of(
        {
            "group": number,
            **fields_of(one, "method", "devices", "nodes"),
            "predicted_step_seconds": one.step.seconds,
            "predicted_step_seconds_low": one.step.low,
            "predicted_step_seconds_high": one.step.high,
            "predicted_throughput_samples_per_second": one.throughput,
            "predicted_scaling_efficiency": one.efficiency,
            "predicted_memory_bytes": one.memory_bytes,
            "exchange_seconds": one.step.exchange,
            "exposed_seconds": one.step.exposed,
            "is_measured_link": one.is_measured_link,
            "measured_step_seconds": one.measured_step,
            **fields_of(one, "error", "naive_error", "is_covered"),
        }
        for number, group in groups
        for one in group.forecasts
    )
