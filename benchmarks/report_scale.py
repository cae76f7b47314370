"""How long does step 05 take, and how much memory, for a folder of very many records?

Writes synthetic records into a temporary folder and runs 05_performance_comparison.py on it as a user would, report and
plots included: 1,000 records of 4,000 steps on two ranks (goal: 30 s), then 10,000 of 20 steps on one (goal: 60 s).

    python benchmarks/report_scale.py
"""

from __future__ import annotations

import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from common.records import (  # noqa: E402  (the repository is no package)
    DdpOptions,
    DeviceMemory,
    DeviceUse,
    Environment,
    Epoch,
    Parity,
    ProfileRecord,
    RankProfile,
    RankTrace,
    Record,
    RunConfig,
    StaticMemory,
    World,
)

CASES = (("long", 1_000, 4_000, 30), ("small", 10_000, 20, 60))
"""Name, records, steps, goal in seconds."""
METHODS = (("02", "single", 1), ("03", "dp", 2), ("04", "ddp", 2))
MODELS = ("resnet18", "resnet50", "vgg16", "mobilenet_v2", "vit_b_16")
BATCH = 16
ANATOMY_STEPS = 20
PHASES = ("data wait", "forward", "loss", "backward", "exchange", "optimizer")


def make_record(number: int, steps: int) -> Record:
    """A valid run; number decides method and model, so that a folder holds several groups of repeats."""
    step, method, devices = METHODS[number % 3]
    rng, batch, ranks = random.Random(number), BATCH * devices, devices if method == "ddp" else 1
    traces = []
    for rank in range(ranks):
        times = [0.1 * rng.uniform(0.95, 1.05) for _ in range(steps)]
        traces.append(RankTrace(
            rank=rank, host="host", step_seconds=times, data_wait_seconds=[time / 100 for time in times],
            host_epoch_seconds=[sum(times)], samples=[steps * batch // ranks], checksums=["0" * 16],
        ))  # fmt: skip
    config = RunConfig(
        model=MODELS[number // 3 % len(MODELS)], num_classes=1000, image_size=64, global_batch_size=batch,
        per_device_batch_size=BATCH, epochs=1, samples_per_epoch=steps * BATCH, warmup_steps=2, precision="ieee-fp32",
        learning_rate=0.1 * batch / 256, momentum=0.9, weight_decay=1e-4, seed=0, loader_workers=1,
        ddp=DdpOptions() if method == "ddp" else None,
    )  # fmt: skip
    return Record(
        run_id=f"run-{number:05}", step=step, method=method, status="completed", command="python …",
        started_at=f"2026-01-01T00:00:00.{number:06}+00:00", finished_at="2026-01-01T01:00:00+00:00", config=config,
        environment=Environment(hostname="host", platform="Linux", python="3.12", torch="2.13.0", torchvision="0.28.0",
                                cpu_model="CPU", cpu_cores=2, load_average_1min=rng.random()),
        world=World(device_kind="cpu", device_model="CPU", devices=devices, processes=ranks, emulated=method == "dp"),
        devices=[DeviceUse(host="host", rank=0, index=i, name="core", memory=DeviceMemory(peak_process_bytes=2**29))
                 for i in range(devices)],
        static_memory=StaticMemory(parameters=10**7, parameter_bytes=4 * 10**7, buffer_bytes=0,
                                   gradient_bytes=4 * 10**7, optimizer_state_bytes=4 * 10**7),
        parity=Parity(outcome="not applicable" if method == "single" else "passed", max_relative_error=1e-7),
        epochs=[Epoch(epoch=1, steps=steps, samples=steps * batch, mean_loss=2.0, expected_checksum="0" * 16)],
        ranks=traces, anatomy=make_profile(ranks, rng), flops_per_sample=10**9,
    )  # fmt: skip


def make_profile(ranks: int, rng: random.Random) -> ProfileRecord:
    def seconds() -> list[float]:
        return [0.1 * rng.uniform(0.95, 1.05) for _ in range(ANATOMY_STEPS)]

    return ProfileRecord(steps=ANATOMY_STEPS, bytes_moved={"exchange": 4 * 10**7}, ranks=[
        RankProfile(rank=rank, step_seconds=seconds(), phases={name: seconds() for name in PHASES},
                    exchange_on_seconds=seconds(), exchange_off_seconds=seconds(), one_bucket_seconds=seconds())
        for rank in range(ranks)
    ])  # fmt: skip


def main() -> None:
    for name, records, steps, goal in CASES:
        with tempfile.TemporaryDirectory() as folder:
            for number in range(records):
                path = Path(folder) / f"run-{number:05}.json"
                path.write_text(make_record(number, steps).model_dump_json())
            size = sum(path.stat().st_size for path in Path(folder).iterdir())
            began = time.perf_counter()
            subprocess.run(
                [sys.executable, ROOT / "05_performance_comparison.py", "--results-dir", folder, "--quiet",
                 "--generate-plots", "--output-report", Path(folder) / "report.html"], check=True,
            )  # fmt: skip
            elapsed = time.perf_counter() - began
            page = (Path(folder) / "report.html").stat().st_size
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**10
        folder_size = f"{records:,} records of {steps:,} steps, {size / 2**20:.0f} MiB"
        cost = f"{elapsed:.1f} s (goal {goal} s), peak memory so far {peak:.0f} MiB, page {page / 2**20:.2f} MiB"
        print(f"{name}: {folder_size}: {cost}")


if __name__ == "__main__":
    main()
