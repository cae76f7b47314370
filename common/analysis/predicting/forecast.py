"""What N devices will do, from one: each with its range, what it rests on, and its error where it was run."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pandas as pd

from common.analysis.comparing.csv_files import Line, fields_of, table_of
from common.analysis.comparing.groups import Group
from common.analysis.comparing.rows import Row, RowName
from common.analysis.predicting.basis import Basis, basis_of
from common.analysis.predicting.links import MAX_DEVICES, AllReduceModel, MeasuredTable, Nodes, Question, Ring
from common.analysis.predicting.parallel_steps import PredictedStep, ddp_step, dp_step
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
    memory_bytes: int | None
    """Of the device that holds most."""
    rests_on: Message
    is_measured_link: bool
    """Whether the exchange itself was measured for so many devices."""
    measured: Row | None = None
    nodes: int = 1

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
    exchange: AllReduceModel | None
    most: int
    """So many devices the link may carry: those of one machine, unless the links were given."""
    forecasts: list[Forecast] = field(default_factory=list)


def forecast(group: Group, question: Question) -> GroupForecast | None:
    """Predict a group's configurations; None where there is nothing to predict from."""
    basis = basis_of(group)
    if basis is None:
        return None
    exchange, asks_for_links = _exchange(basis, question), bool(question.link or question.between)
    cores = basis.row.record.environment.alike_cores if basis.is_cpu else None
    predicted = GroupForecast(basis, exchange, MAX_DEVICES if asks_for_links else cores or MAX_GPUS_IN_A_MACHINE)
    measured = {row.devices for row in group.main_rows if row.devices > 1 and row.true_devices}
    by_default = [count for count in DEFAULT_COUNTS if cores is None or count <= cores]
    for devices in question.counts or sorted(measured.union(by_default)):
        if exchange:
            predicted.forecasts.append(_ddp(group, basis, exchange, devices, question))
        is_here = devices > 1 and not asks_for_links and (cores is None or devices <= cores)
        if is_here and (step := dp_step(basis, devices)):
            predicted.forecasts.append(_dp(group, basis, step, devices))
    return predicted if predicted.forecasts else None


def _exchange(basis: Basis, question: Question) -> AllReduceModel | None:
    table = basis.probes.all_reduce
    usable = table is not None and sum(bool(time.seconds) for time in table.times) > 1
    within = Ring(question.link) if question.link else MeasuredTable(table) if usable else None
    if question.between:
        return Nodes(within or Ring(question.between), question.between, question.per_node or 1)
    return within


def _ddp(group: Group, basis: Basis, exchange: AllReduceModel, devices: int, question: Question) -> Forecast:
    peaks = [peak.peak_bytes for peak in basis.row.memory]
    # torch's allocator: buckets live from step to step, where one device has no gradients when it holds most. A process
    # on CPU cores keeps the memory of its gradients, and the buckets take its place.
    more = 0 if basis.is_cpu else basis.gradient_bytes
    nodes = -(-devices // (question.per_node or 1)) if question.between else 1
    return Forecast(
        basis,
        "ddp",
        devices,
        ddp_step(basis, exchange, devices),
        memory_bytes=max(peaks) + more if peaks else None,
        rests_on=exchange.rests_on() if devices > 1 else message("forecast.on_no_exchange"),
        is_measured_link=exchange.is_measured(devices),
        # Over a link that is not here nothing was measured; nodes have a link that may be here.
        measured=None if question.link and nodes == 1 else _measured(group, "ddp", devices, nodes),
        nodes=nodes,
    )


def _dp(group: Group, basis: Basis, step: PredictedStep, devices: int) -> Forecast:
    record, peaks = basis.row.record, [peak.peak_bytes for peak in basis.row.memory]
    each = record.bytes_per_sample
    if each is None:  # an older record: images of one byte a colour
        each = 3 * record.config.image_size**2
    others = (devices - 1) * record.config.per_device_batch_size * each  # device 0 holds the samples of all devices
    return Forecast(
        basis,
        "dp",
        devices,
        step,
        memory_bytes=max(peaks) + others if peaks and not basis.is_cpu else None,
        rests_on=message("forecast.on_replicas_emulated" if basis.is_cpu else "forecast.on_replicas"),
        is_measured_link=True,
        measured=_measured(group, "dp", devices, 1),
    )


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
    return table_of(_line(number, one) for number, group in groups for one in group.forecasts)


def _line(number: int, one: Forecast) -> Line:
    return {
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
