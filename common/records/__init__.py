"""The contract between the two wings: what a run writes (02, 03, 04) and what step 05 reads.

Plain data, checked by pydantic; no torch, so that a record copied to a laptop can be read there. Every field carries
its unit in its name. Raw times are stored; the numbers derived from them (throughput, epoch time) are computed here, by
one function each, so that the table a script prints and the page of step 05 cannot disagree.
"""

from common.records.derived import epoch_seconds, step_seconds, throughput
from common.records.host import Environment, Gpu, Requirement, World
from common.records.outcome import (
    DeviceMemory,
    DeviceUse,
    Epoch,
    Failure,
    GpuHealth,
    Parity,
    RankTrace,
    Resumed,
    StaticMemory,
    Validation,
)
from common.records.probe_results import (
    AllReduce,
    AllReduceTime,
    Copy,
    LaunchTimes,
    MatmulRate,
    MemoryRate,
    ProbeName,
    Probes,
    Together,
)
from common.records.record import EnvironmentRecord, Record
from common.records.requested import NEWER_OPTIONS, CommHook, CompileMode, DdpOptions, Exchange, RunConfig
from common.records.step_phases import Anatomy, Gradients, PhaseName, RankAnatomy
from common.records.values import (
    SCHEMA_VERSION,
    Bytes,
    Checksum,
    Count,
    DeviceKind,
    FiniteFloat,
    FlopKind,
    Method,
    Part,
    PositiveCount,
    PositiveSeconds,
    Precision,
    Seconds,
    Times,
)

__all__ = [
    "NEWER_OPTIONS",
    "SCHEMA_VERSION",
    "AllReduce",
    "AllReduceTime",
    "Anatomy",
    "Bytes",
    "Checksum",
    "CommHook",
    "CompileMode",
    "Copy",
    "Count",
    "DdpOptions",
    "DeviceKind",
    "DeviceMemory",
    "DeviceUse",
    "Environment",
    "EnvironmentRecord",
    "Epoch",
    "Exchange",
    "Failure",
    "FiniteFloat",
    "FlopKind",
    "Gpu",
    "GpuHealth",
    "Gradients",
    "LaunchTimes",
    "MatmulRate",
    "MemoryRate",
    "Method",
    "Parity",
    "Part",
    "PhaseName",
    "PositiveCount",
    "PositiveSeconds",
    "Precision",
    "ProbeName",
    "Probes",
    "RankAnatomy",
    "RankTrace",
    "Record",
    "Requirement",
    "Resumed",
    "RunConfig",
    "Seconds",
    "StaticMemory",
    "Times",
    "Together",
    "Validation",
    "World",
    "epoch_seconds",
    "step_seconds",
    "throughput",
]
