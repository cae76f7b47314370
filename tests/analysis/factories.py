"""Synthetic records for the tests of the analysis wing: valid by default, any part replaceable."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np

from common.records import (
    DdpOptions,
    DeviceMemory,
    DeviceUse,
    Environment,
    EnvironmentRecord,
    Epoch,
    Parity,
    RankTrace,
    Record,
    Requirement,
    RunConfig,
    StaticMemory,
    World,
)

_numbers = itertools.count()
STEPS = {"single": "02", "dp": "03", "ddp": "04"}
MIB = 2**20


def make_environment(**changes) -> Environment:
    values = {
        "hostname": "bench", "platform": "Linux-6.1", "python": "3.12.1", "torch": "2.13.0", "torchvision": "0.28.0",
        "cpu_model": "Example CPU", "cpu_cores": 2, "ram_bytes": 8 * 2**30, "load_average_1min": 0.2,
    }  # fmt: skip
    return Environment(**values | changes)


def make_record(
    method="single", devices=1, step_seconds=0.5, noise=0.02, steps=20, epochs=2, per_device_batch=16, seed=0,
    samples=640, kind="cpu", environment=None, config=None, world=None, **changes,
) -> Record:  # fmt: skip
    """One run whose steps take `step_seconds` on average with a relative standard deviation of `noise`.

    No two with noise have equal times, which would be copies: they differ by at least a billionth.
    """
    rng, number = np.random.default_rng(seed), next(_numbers)
    step_seconds *= 1 + 1e-9 * number * bool(noise)
    batch = per_device_batch * devices
    processes = devices if method == "ddp" else 1
    ranks = []
    for rank in range(processes):
        times = step_seconds * rng.normal(1, noise, (epochs, steps)).clip(0.1)
        ranks.append(RankTrace(
            rank=rank, host="bench", step_seconds=times.ravel().tolist(),
            data_wait_seconds=(times * 0.01).ravel().tolist(),
            host_epoch_seconds=times.sum(axis=1).tolist(), samples=[steps * batch // processes] * epochs,
            loader_start_seconds=0.1, checksums=[f"{rank + 1:016x}"] * epochs,
        ))  # fmt: skip
    expected = f"{sum(range(1, processes + 1)):016x}"
    values = {
        "run_id": f"run-{number}", "step": STEPS[method], "method": method, "status": "completed",
        "command": f"python {STEPS[method]}_….py --batch-size {batch}",
        "started_at": f"2026-01-01T{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}+00:00",
        "finished_at": "2026-01-02T00:00:00+00:00",
        "config": make_config(method, devices, batch, per_device_batch, epochs, samples, **config or {}),
        "environment": make_environment(**environment or {}),
        "world": make_world(method, devices, processes, kind, **world or {}),
        "devices": make_devices(method, devices, kind),
        "static_memory": StaticMemory(parameters=11_689_512, parameter_bytes=45 * MIB, buffer_bytes=1 * MIB,
                                      gradient_bytes=45 * MIB, optimizer_state_bytes=45 * MIB),
        "parity": make_parity(method, devices),
        "loader_runs_on": True,
        "epochs": [Epoch(epoch=e + 1, steps=steps, samples=steps * batch, mean_loss=2.0 / (e + 1),
                         expected_checksum=expected) for e in range(epochs)],
        "ranks": ranks,
    }  # fmt: skip
    return Record(**values | changes)


def make_config(method, devices, batch, per_device_batch, epochs, samples, **changes) -> RunConfig:
    values = {
        "model": "resnet18", "num_classes": 1000, "image_size": 64, "global_batch_size": batch,
        "per_device_batch_size": per_device_batch, "epochs": epochs, "samples_per_epoch": samples, "warmup_steps": 2,
        "precision": "ieee-fp32", "learning_rate": 0.1 * batch / 256, "momentum": 0.9, "weight_decay": 1e-4, "seed": 0,
        "loader_workers": devices, "ddp": DdpOptions() if method == "ddp" else None,
    }  # fmt: skip
    return RunConfig(**values | changes)


def make_world(method, devices, processes, kind, **changes) -> World:
    values = {
        "device_kind": kind, "device_model": {"cpu": "Example CPU", "cuda": "Example GPU"}[kind], "devices": devices,
        "processes": processes, "backend": {"cpu": "gloo", "cuda": "nccl"}[kind] if method == "ddp" else None,
        "emulated": kind == "cpu" and method == "dp", "oversubscribed": kind == "cpu" and devices > 2,
    }  # fmt: skip
    return World(**values | changes)


def make_devices(method, devices, kind) -> list[DeviceUse]:
    uses = []
    for index in range(devices):
        heavy = 2 if method == "dp" and index == 0 else 1
        if kind == "cuda":
            memory = DeviceMemory(peak_allocated_bytes=heavy * 900 * MIB, peak_reserved_bytes=heavy * 1100 * MIB,
                                  peak_process_bytes=heavy * 1500 * MIB)  # fmt: skip
        elif method == "dp" and index:
            memory = DeviceMemory()
        else:
            memory = DeviceMemory(peak_process_bytes=heavy * 700 * MIB)
        rank = index if method == "ddp" else 0
        uses.append(DeviceUse(host="bench", rank=rank, index=index, name="Example", memory=memory))
    return uses


def make_parity(method, devices) -> Parity:
    if method == "single":
        return Parity(outcome="not applicable")
    return Parity(outcome="passed", max_relative_error=3e-7, worst_parameter="fc.weight", tolerance=1e-4, samples=8,
                  shards=devices, seconds=0.4)  # fmt: skip


def make_environment_record(**changes) -> EnvironmentRecord:
    values = {
        "run_id": "environment-1",
        "command": "python 01_environment_check.py",
        "started_at": "2026-01-01T00:00:00+00:00",
        "environment": make_environment(),
        "backends": ["gloo"],
        "requirements": [
            Requirement(name="at least two devices", outcome="warning", found="2 CPU cores", advice="use two GPUs")
        ],
    }
    return EnvironmentRecord(**values | changes)


def write(folder: Path, *records) -> Path:
    """Write records as the scripts do, one file each, and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for record in records:
        name = "".join(letter for letter in record.run_id if letter.isalnum() or letter in "-_")
        (folder / f"{name}.json").write_text(record.model_dump_json())
    return folder


def in_rounds(*records: Record, rounds: int = 3, scatter: float = 0.002) -> list[Record]:
    """So many launches of each record, in turn; each a little faster or slower, in the mean as fast as the record."""
    found = []
    for number in range(rounds):
        for place, record in enumerate(records):
            launch, usual = record.model_copy(deep=True), make_record()
            launch.run_id, launch.started_at = usual.run_id, usual.started_at
            pace = 1 + scatter * np.cos(2 * np.pi * number / rounds + 1.3 * place + 0.4)
            for rank in launch.ranks:
                for name in ("step_seconds", "data_wait_seconds", "host_epoch_seconds"):
                    setattr(rank, name, [float(pace) * seconds for seconds in getattr(rank, name)])
            found.append(launch)
    return found


def typical_lab(**options) -> list[Record]:
    """One device, DP and DDP on two, DDP clearly ahead."""
    return [
        make_record("single", 1, 0.50, seed=1, **options),
        make_record("dp", 2, 0.80, seed=2, **options),
        make_record("ddp", 2, 0.60, seed=3, **options),
    ]
