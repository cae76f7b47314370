"""The contract between the two wings: what a run writes (02, 03, 04) and what step 05 reads.

Plain data, checked by pydantic; no torch, so that a record copied to a laptop can be read there. Every field carries
its unit in its name. Raw times are stored; the numbers derived from them (throughput, epoch time) are computed here, by
one function each, so that the table a script prints and the page of step 05 cannot disagree.
"""

from common.records.derived import (
    epoch_seconds,
    is_steady,
    steady_samples,
    steady_step_seconds,
    step_seconds,
    throughput,
)
from common.records.fault_record import FaultName, FaultNeed, FaultRecord
from common.records.host import JOINED, CoreKind, Environment, Gpu, Requirement, World, joint_model
from common.records.machine_identity import BY_NAME, machine_of, machine_of_gpus, machine_of_host
from common.records.methods import METHODS, Method, TrainingMethod, method_order
from common.records.outcome import (
    DeviceMemory,
    DeviceUse,
    Epoch,
    Failure,
    FailureKind,
    GpuHealth,
    Launch,
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
from common.records.setting_declaration import (
    Setting,
    flag_of,
    flag_words,
    refused_with_replicas,
    setting,
    settings_of,
    unusual_flags,
    usual_values,
)
from common.records.settings import (
    NEWER_OPTIONS,
    CommHook,
    CompileMode,
    DdpOptions,
    Exchange,
    RunConfig,
    has_option,
)
from common.records.step_phases import Anatomy, Gradients, PhaseName, PhaseOrStep, RankAnatomy
from common.records.values import (
    MAX_FINITE,
    MAX_TEXTS,
    SCHEMA_VERSION,
    Backend,
    Bytes,
    Checksum,
    Count,
    DeviceKind,
    FiniteFloat,
    FlopKind,
    Part,
    PositiveCount,
    PositiveSeconds,
    Precision,
    Seconds,
    Times,
)
