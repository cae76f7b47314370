"""Tidy tables of a folder: a row for each run, and for each device, epoch, phase and probe. Columns carry their units.

`docs/tables.md` explains them column by column. Whole numbers stay whole where some are missing (pandas' `Int64`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from common.analysis.comparing.facts import BATCH, KEY, OTHER_FACTS, group_facts, other_facts
from common.analysis.reading.runs import Run, with_lasting_limits
from common.records import EnvironmentRecord, Record, machine_of

Line = dict[str, Any]


@dataclass(frozen=True)
class Tables:
    """What everything after reading draws from."""

    all_runs: list[Run]
    """The objects behind the rows of `runs`, in the same order."""
    runs: pd.DataFrame
    devices: pd.DataFrame
    """Indexed by the row of `runs` that the device belongs to; so are `epochs` and `phases`."""
    epochs: pd.DataFrame
    phases: pd.DataFrame
    probes: pd.DataFrame
    probed: Sequence[EnvironmentRecord]
    """Records of step 01 with probes, the newest last."""


def tidy(runs: Sequence[Run], probed: Sequence[EnvironmentRecord] = ()) -> Tables:
    """Build all tables."""
    runs = with_lasting_limits(runs, lambda run: _weak_group(run.record))
    numbered = list(enumerate(runs))
    hosts = {machine_of(run.record.environment): run.record.environment.hostname for run in runs}
    return Tables(
        all_runs=runs,
        runs=table_of((_run(run) for run in runs), ["is_comparable"]),
        devices=table_of((line for place, run in numbered for line in _devices(place, run, hosts)), ["run"]).set_index(
            "run"
        ),
        epochs=table_of((line for place, run in numbered for line in _epochs(place, run)), ["run"]).set_index("run"),
        phases=table_of((line for place, run in numbered for line in _phases(place, run)), ["run"]).set_index("run"),
        probes=table_of((line for record in probed for line in _probes(record)), ["probe"]),
        probed=probed,
    )


def _weak_group(record: Record) -> tuple:
    facts = group_facts(record)
    return tuple(facts[name] for name in (*KEY, BATCH["weak"]))


def table_of(lines: Iterable[Line], at_least: Sequence[str] = ()) -> pd.DataFrame:
    """Lines as a table that has these columns even where it has no rows.

    Made of Python's own objects first, because pandas turns whole numbers of which one is missing into floats.
    """
    frame = pd.DataFrame(list(lines), dtype=object)
    for name in frame.columns:
        whole, kind = frame[name].notna().all(), pd.api.types.infer_dtype(frame[name], skipna=True)
        dtype = {
            "integer": "int64" if whole else "Int64",
            "floating": float,
            "mixed-integer-float": float,
            "boolean": bool if whole else object,
        }.get(kind, object)
        frame[name] = frame[name].astype(dtype)
    return frame.reindex(columns=[*frame.columns, *(name for name in at_least if name not in frame)])


def _run(run: Run) -> Line:
    record, world, config = run.record, run.record.world, run.record.config
    speed, times = run.seconds_per_sample, run.times
    return {
        "file": run.file,
        "run_id": record.run_id,
        "method": record.method,
        "status": record.status,
        "started_at": record.started_at,
        "finished_at": record.finished_at,
        "is_comparable": run.is_comparable,
        "failed_parity": run.failed_parity,
        "failed_check": run.failed_check,
        "devices": world.devices,
        "processes": world.processes,
        "device_kind": world.device_kind,
        "emulated": world.emulated,
        "shared": world.shared,
        "oversubscribed": world.oversubscribed,
        **group_facts(record),
        **dict.fromkeys(OTHER_FACTS),
        **other_facts(record),
        "host": record.environment.hostname,
        "seed": config.seed,
        "samples": sum(epoch.samples for epoch in record.epochs),
        "steps": times.steps + times.steps_left_out if times else None,
        "steps_left_out": times.steps_left_out if times else None,
        "measured_seconds": float(sum(run.epoch_seconds)),
        "throughput_samples_per_second": 1 / speed.value if speed else None,
        **ends("throughput_samples_per_second", speed.inverse().interval if speed else None),
        "data_wait_share": times.data_wait_share if times else None,
        "core_wait_share": run.core_wait_share,
        "steal_share": run.steal_share,
        "clock_difference_share": times.clock_difference_share if times else None,
        "load_average_1min": record.environment.load_average_1min,
        "flops_per_sample": record.flops_per_sample,
    }


def _devices(place: int, run: Run, hosts: Mapping[str, str]) -> Iterator[Line]:
    """A line for each. A container has another name in each run: `hosts` has the newest of each machine. Of several
    nodes the names are all that is known."""
    record, static = run.record, run.record.static_memory
    host = hosts[machine_of(record.environment)] if record.world.nodes == 1 else None
    sizes = {
        "parameters_and_buffers_bytes": static.parameter_bytes + static.buffer_bytes if static else None,
        "gradients_bytes": static.gradient_bytes if static else None,
        "optimizer_state_bytes": static.optimizer_state_bytes if static else None,
    }
    for device in record.devices:
        yield {
            "run": place,
            "host": host or device.host,
            "rank": device.rank,
            "index": device.index,
            "capacity_bytes": device.capacity_bytes,
            **device.memory.model_dump(),
            "energy_joules": device.energy_joules,
            "idle_watts": device.idle_watts,
            "measured_seconds": float(sum(run.epoch_seconds)),
            "samples": sum(epoch.samples for epoch in record.epochs),
            "epoch_samples": max((epoch.samples for epoch in record.epochs), default=0),
            **sizes,
        }


def _epochs(place: int, run: Run) -> Iterator[Line]:
    for position, epoch in enumerate(run.record.epochs):
        found = epoch.validation
        yield {
            "run": place,
            "epoch": epoch.epoch,
            "steps": epoch.steps,
            "samples": epoch.samples,
            "seconds": run.epoch_seconds[position] if run.epoch_seconds else None,
            "mean_loss": epoch.mean_loss,
            "validation_samples": found.samples if found else None,
            "validation_top1_share": found.top1 if found else None,
            "validation_top5_share": found.top5 if found else None,
            "validation_mean_loss": found.mean_loss if found else None,
        }


def _phases(place: int, run: Run) -> Iterator[Line]:
    for rank in run.anatomy.ranks if run.anatomy else ():
        slowest = rank is run.anatomy.slowest
        for name, phase in (("step", rank.step), *rank.phases.items()):
            at = {"run": place, "rank": rank.rank, "is_slowest": slowest, "phase": name, "seconds": phase.value}
            yield at | ends("seconds", phase.interval) | {"extra_steps": phase.count}


def _probes(record: EnvironmentRecord) -> Iterator[Line]:
    probes = record.probes
    at = {"started_at": record.started_at, "host": record.environment.hostname}
    for product in probes.matmul:
        yield at | {"probe": "matmul", "device_model": product.device_model, "precision": product.precision,
                    "flops_per_second": product.flops_per_second}  # fmt: skip
    for rate in probes.memory:
        yield at | {"probe": "memory", "device_model": rate.device_model, "bytes_per_second": rate.bytes_per_second}
    for copy in probes.copies:
        yield at | {"probe": "copies", "source": copy.source, "destination": copy.destination, "bytes": copy.bytes,
                    "bytes_per_second": copy.bytes_per_second}  # fmt: skip
    for time in probes.all_reduce.times if probes.all_reduce else ():
        yield at | {"probe": "all_reduce", "backend": probes.all_reduce.backend, "ranks": time.ranks,
                    "bytes": time.bytes, "seconds": time.seconds,
                    "bus_bandwidth_bytes_per_second": time.bus_bandwidth_bytes_per_second}  # fmt: skip

    if probes.launches:
        yield at | {"probe": "launches", **probes.launches.model_dump()}
    if probes.together:
        yield at | {"probe": "together", **probes.together.model_dump()}


def ends(name: str, interval: tuple[float, float] | None) -> Line:
    """Both ends of an interval as columns `<name>_low` and `<name>_high`; empty where there is none."""
    low, high = interval or (None, None)
    return {f"{name}_low": low, f"{name}_high": high}
