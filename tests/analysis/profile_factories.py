"""Synthetic profiles and probes: round numbers, so that a test can say what must come out."""

from __future__ import annotations

from analysis.factories import make_environment_record, make_record
from common.records import (
    REPLICATED_KINDS,
    AllReduce,
    AllReduceTime,
    MatmulRate,
    MemoryRate,
    Probes,
    ProfileRecord,
    RankProfile,
    StepsInRounds,
)

PHASES = {
    "single": {"data wait": 1, "forward": 100, "loss": 1, "backward": 200, "optimizer": 20},
    "dp": {"data wait": 1, "scatter": 2, "replicate": 60, "forward": 110, "gather": 3, "loss": 1, "backward": 220,
           "reduce": 40, "optimizer": 20},
    "ddp": {"data wait": 1, "forward": 100, "loss": 1, "backward": 210, "exchange": 30, "optimizer": 20},
}  # fmt: skip
"""Milliseconds of a step."""
MOVED = {
    "single": {},
    "dp": {"scatter": 800_000, "replicate": 60_000_000, "gather": 64_000, "reduce": 40_000_000},
    "ddp": {"exchange": 40_000_000},
}


def wobbling(milliseconds: float, steps: int) -> list[float]:
    """Seconds around a value, a per cent apart, whose median is the value."""
    return [milliseconds / 1000 * (1 + 0.01 * (step % 3 - 1)) for step in range(steps)]


def make_rank(
    method: str, rank: int = 0, steps: int = 9, on=380.0, off=350.0, one_bucket=410.0, silent=None, **phases
) -> RankProfile:
    """One rank. `on`, `off`, `one_bucket` and `silent` (without an all-reduce, if there were such steps) are
    milliseconds of whole steps under DDP."""
    parts = PHASES[method] | {name.replace("_", " "): value for name, value in phases.items()}
    values = {
        "rank": rank,
        "step_seconds": wobbling(sum(parts.values()), steps),
        "phases": {name: wobbling(value, steps) for name, value in parts.items()},
    }
    if method == "dp":
        values["replica_seconds"] = [wobbling(320, steps), wobbling(330, steps)]
    if method == "ddp":
        values |= {
            "communication_seconds": wobbling(90, steps - 1), "overlap_seconds": wobbling(70, steps - 1),
            "exchange_on_seconds": wobbling(on, steps), "exchange_off_seconds": wobbling(off, steps),
            "one_bucket_seconds": wobbling(one_bucket, steps),
            "no_all_reduce_seconds": wobbling(silent, steps) if silent else [],
        }  # fmt: skip
    return RankProfile(**values)


def make_profile(method: str, *ranks: RankProfile, steps: int = 9, **changes) -> ProfileRecord:
    """A profile of these ranks, or of as many usual ones as the method has."""
    ranks = list(ranks) or [make_rank(method, rank, steps) for rank in range(2 if method == "ddp" else 1)]
    values = {"steps": steps, "ranks": ranks, "bytes_moved": MOVED[method]}
    if method == "ddp":
        values["bucket_bytes"] = [10_000_000, 30_000_000]
    return ProfileRecord(**values | changes)


def profiled_lab(**options) -> list:
    """One device, DP and DDP on two, DDP ahead, all of them profiled."""
    cases = (("single", 1, 0.50), ("dp", 2, 0.80), ("ddp", 2, 0.60))
    return [
        make_record(
            method,
            devices,
            seconds,
            seed=seed,
            **{"anatomy": make_profile(method), "flops_per_sample": 10**9} | options,
        )
        for seed, (method, devices, seconds) in enumerate(cases, start=1)
    ]


def make_probes(device_model="Example CPU", ranks=2, backend="gloo", bf16=150e9, **changes) -> Probes:
    """100 GFLOP/s in fp32; an all-reduce of 1 MB takes 1 ms, of 100 MB 100 ms."""
    size = 1000
    times = [AllReduceTime(bytes=10**power, ranks=ranks, seconds=10 ** (power - 9)) for power in (6, 7, 8)]
    rates = {"ieee-fp32": 100e9, "bf16": bf16}
    values = {
        "seconds": 20.0,
        "matmul": [
            MatmulRate(device_model=device_model, precision=name, size=size, seconds=2 * size**3 / rate)
            for name, rate in rates.items()
        ],
        "memory": [MemoryRate(device_model=device_model, bytes=2**28, seconds=0.05)],
        "all_reduce": AllReduce(backend=backend, ranks=ranks, times=times, left_out_bytes=[2**28]),
        "not_applicable": {"copies": "CPU cores share one memory"},
    }
    return Probes(**values | changes)


def make_probed(**changes):
    """A record of step 01 with probes."""
    return make_environment_record(**{"probes": make_probes()} | changes)


def replicated_steps(
    both_new: float, new_threads: float, new_replicas: float, both_kept: float, one_thread=70.0, rounds=9
) -> StepsInRounds:
    """DP's kinds of steps, by what is new in them, in milliseconds."""
    seconds = [wobbling(of_kind, rounds) for of_kind in (both_new, new_replicas, new_threads, both_kept, one_thread)]
    kinds = list(REPLICATED_KINDS)
    return StepsInRounds(
        seed=0,
        orders=[kinds] * rounds,
        seconds=dict(zip(kinds, seconds, strict=True)),
        warm_up_seconds={kind: [1.0, 1.0, 1.0] for kind in kinds},
        settled=dict.fromkeys(kinds, True),
    )
