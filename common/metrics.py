"""The contract between the two wings: what a run writes (02, 03, 04) and what step 05 reads.

Plain data, checked by pydantic; no torch, so that a record copied to a laptop can be read there. Every field carries
its unit in its name. Raw times are stored; the numbers derived from them (throughput, epoch time) are computed here, by
one function each, so that the table a script prints and the page of step 05 cannot disagree.
"""

from __future__ import annotations

from itertools import accumulate
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, FailFast, Field, model_validator

SCHEMA_VERSION = 1

Method = Literal["single", "dp", "ddp"]
DeviceKind = Literal["cuda", "cpu"]
Precision = Literal["ieee-fp32", "tf32", "bf16", "fp16"]

Count = Annotated[int, Field(ge=0)]
PositiveCount = Annotated[int, Field(ge=1)]
Bytes = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
PositiveSeconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Times = Annotated[list[Seconds], FailFast()]
"""One entry a step: so many that a file full of NaN must be refused at the first."""
FiniteFloat = Annotated[float, Field(allow_inf_nan=False)]
Checksum = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]


class Part(BaseModel):
    """Base of every piece of a record. An unknown key is an error: it means another schema."""

    model_config = ConfigDict(extra="forbid")


# ---------------------------------------------------------------------------------------------- what was asked for


class DdpOptions(Part):
    """Arguments of `DistributedDataParallel`, under torch's own names."""

    find_unused_parameters: bool = False
    gradient_as_bucket_view: bool = True
    bucket_cap_mb: Annotated[float, Field(gt=0)] | None = None
    """MiB of gradients in one all-reduce; None is torch's default (25, with a first bucket of 1)."""
    broadcast_buffers: bool = False
    timeout_seconds: Annotated[float, Field(gt=0)] = 600.0
    """How long a collective may take before the run is given up."""


class RunConfig(Part):
    """All of what a run was asked to do, defaults filled in."""

    model: str
    num_classes: PositiveCount
    image_size: PositiveCount
    """Height and width of the square images, in pixels."""
    global_batch_size: PositiveCount
    """Samples in one optimizer step, over all devices."""
    per_device_batch_size: PositiveCount
    """Samples in one optimizer step, on the device that gets the most of them."""
    epochs: PositiveCount
    """Measured epochs asked for."""
    samples_per_epoch: PositiveCount
    """Size of the data set; an epoch leaves out the last samples that do not fill a global batch."""
    warmup_steps: Count
    """Optimizer steps before epoch 1, never counted."""
    precision: Precision
    """What the convolutions ran in."""
    memory_format: Literal["channels_first", "channels_last"] = "channels_first"
    compile: bool = False
    data_source: str = "synthetic"
    learning_rate: FiniteFloat
    momentum: FiniteFloat
    weight_decay: FiniteFloat
    seed: int
    loader_workers: Count
    """Loader worker processes, over all devices."""
    ddp: DdpOptions | None = None
    """Set for method `ddp` alone."""


# ---------------------------------------------------------------------------------------------- where it ran


class Gpu(Part):
    """One GPU as driver and torch describe it; None where NVML or torch cannot tell."""

    index: Count
    name: str
    uuid: str | None = None
    compute_capability: str | None = None
    memory_total_bytes: Bytes | None = None
    memory_free_bytes: Bytes | None = None
    pcie_generation: int | None = None
    pcie_width: int | None = None
    nvlink_links: int | None = None
    """Active NVLink links of this GPU."""


class Environment(Part):
    """Software and hardware of one host."""

    hostname: str
    platform: str
    python: str
    torch: str
    torchvision: str | None
    cuda: str | None = None
    """CUDA version that torch was built with."""
    driver: str | None = None
    cudnn: str | None = None
    nccl: str | None = None
    cpu_model: str
    cpu_cores: PositiveCount
    """Cores that this process may run on."""
    ram_bytes: Bytes | None = None
    load_average_1min: Seconds | None = None
    """Runnable processes on the host in the minute before the run began, as the kernel counts them."""
    gpus: list[Gpu] = []


class World(Part):
    """The devices of a run taken together."""

    device_kind: DeviceKind
    device_model: str
    devices: PositiveCount
    processes: PositiveCount
    nodes: PositiveCount = 1
    backend: Literal["nccl", "gloo"] | None = None
    threads_per_device: PositiveCount = 1
    """CPU threads that torch may use within one operation, per process (GPU) or device (CPU)."""
    emulated: bool = False
    """DataParallel on CPU cores: torch has none, so common/data_parallel.py ran the same algorithm."""
    shared: bool = False
    """Several replicas or ranks on one GPU."""
    oversubscribed: bool = False
    """More devices asked for than there are CPU cores."""


# ---------------------------------------------------------------------------------------------- what was measured


class DeviceMemory(Part):
    """Peaks over the measured epochs. On CPU only `peak_process_bytes`, of the process that drives the device."""

    peak_allocated_bytes: Bytes | None = None
    """torch's CUDA allocator: in tensors."""
    peak_reserved_bytes: Bytes | None = None
    """torch's CUDA allocator: taken from the driver."""
    peak_process_bytes: Bytes | None = None
    """GPU: most that this process was seen to hold on the device (NVML, sampled). CPU: peak resident set size."""


class GpuHealth(Part):
    """NVML readings of one GPU, about one a second during the measured epochs."""

    samples: PositiveCount
    sm_clock_mhz_min: Count | None = None
    sm_clock_mhz_median: Count | None = None
    sm_clock_mhz_max: Count | None = None
    temperature_celsius_max: int | None = None
    throttle_reasons: list[str] = []
    """Names of the reasons seen that slow the clock (power cap, thermal, …); idle is not one."""
    other_processes: Count | None = None
    """Processes on the GPU that do not belong to this run, the most seen at once."""


class DeviceUse(Part):
    """One device of a run. A device on which several replicas ran is listed once for each of them."""

    host: str
    rank: Count
    index: Count
    """CUDA index, or number of the stand-in core."""
    name: str
    capacity_bytes: Bytes | None = None
    memory: DeviceMemory = DeviceMemory()
    health: GpuHealth | None = None
    energy_joules: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """Drawn by the whole GPU during the measured epochs (NVML's counter)."""
    idle_watts: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """Power of the GPU before the first step, with nothing to do; `idle_watts` × seconds of `energy_joules` is idle."""


class StaticMemory(Part):
    """Bytes that one replica holds whatever the batch, computed from the tensors themselves."""

    parameters: Count
    """Number of parameters."""
    parameter_bytes: Bytes
    buffer_bytes: Bytes
    gradient_bytes: Bytes
    optimizer_state_bytes: Bytes


class Epoch(Part):
    """One measured epoch, all ranks together."""

    epoch: PositiveCount
    steps: PositiveCount
    samples: PositiveCount
    """Samples over all devices."""
    mean_loss: FiniteFloat | None
    """Mean over the epoch's samples; None where it was not finite."""
    expected_checksum: Checksum
    """Checksum of the sample indices that this epoch should have covered (see `RankTrace.checksums`)."""


class RankTrace(Part):
    """Raw times of one process, over all measured epochs in order: epoch e has `Record.epochs[e].steps` entries."""

    rank: Count
    host: str
    step_seconds: Times
    """From the end of a step to the end of the next; the first of an epoch starts when all ranks start together."""
    data_wait_seconds: Times
    """The part of each step in which the host waited for the loader."""
    host_epoch_seconds: list[Seconds]
    """Each epoch by the host's clock, from the common start until this rank's devices had finished."""
    samples: list[Count]
    """Samples that this rank consumed, per epoch."""
    checksums: list[Checksum]
    """Per epoch, the sum of a 64-bit hash of every index consumed, modulo 2**64: it does not depend on order, and sums
    over ranks must give `Epoch.expected_checksum`."""


class Parity(Part):
    """Gradient of the parallel model against one device's gradient of the same samples."""

    outcome: Literal["passed", "failed", "not applicable"]
    """`not applicable` for method `single`: there is nothing to compare."""
    max_relative_error: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """Largest ‖g − ref‖ / ‖ref‖ over the parameters; None where not finite or not applicable."""
    worst_parameter: str | None = None
    tolerance: float | None = None
    samples: Count = 0
    shards: Count = 0
    seconds: Seconds = 0.0
    note: str = ""


PhaseName = Literal[
    "data wait",
    "copy",
    "scatter",
    "replicate",
    "forward",
    "gather",
    "loss",
    "backward",
    "reduce",
    "exchange",
    "optimizer",
]
"""Where a step goes, in order. DataParallel alone scatters, replicates, gathers and reduces; `exchange` is what a DDP
rank still waits for when its own backward is done."""


class RankAnatomy(Part):
    """Extra steps of one process after the measured epochs, taken apart. One entry a step in every list."""

    rank: Count
    step_seconds: Times
    phases: dict[PhaseName, Times]
    """They follow one another, and add up to the step but for the few calls between them."""
    replica_seconds: list[Times] = []
    """DataParallel: per replica, its own forward and backward."""
    communication_seconds: Times = []
    """DDP, by torch's own clock: from the start of the first all-reduce of a step to the end of the last. One entry
    less than there are steps, for torch publishes a step's times with the next one; so has `overlap_seconds`."""
    overlap_seconds: Times = []
    """DDP, by torch's own clock: the part of `communication_seconds` that ran beside the backward pass."""
    exchange_on_seconds: Times = []
    """DDP: whole steps with the exchange, each right before one of `exchange_off_seconds`; all ranks start together."""
    exchange_off_seconds: Times = []
    """DDP: whole steps under `no_sync()`."""
    one_bucket_seconds: Times = []
    """DDP: whole steps with all gradients in one bucket, so that nothing overlaps; each right after an `_off` one."""


class Anatomy(Part):
    """Where a step goes. Measured apart: nothing in here is part of the throughput."""

    steps: PositiveCount
    ranks: list[RankAnatomy] = []
    bytes_moved: dict[PhaseName, Bytes] = {}
    """Between devices, in one step, by the phase that moves them; `exchange`: the gradients that one rank gives."""
    bucket_bytes: list[Bytes] = []
    """DDP's buckets, in the order in which they become ready."""
    note: str = ""
    """Why something is missing."""


class Failure(Part):
    """Why a run did not complete."""

    kind: Literal["out_of_memory", "interrupted", "communication", "exception"]
    rank: Count
    message: str
    advice: str
    """What to do about it."""
    traceback: str | None = None


# ---------------------------------------------------------------------------------------------- what the parts can do

ProbeName = Literal["matmul", "memory", "copies", "all_reduce"]


class MatmulRate(Part):
    """The fastest square matrix product of one device model in one precision."""

    device_model: str
    """As in `World.device_model`."""
    precision: Precision
    size: PositiveCount
    """n, where an n × n matrix was multiplied by another."""
    seconds: PositiveSeconds
    """Median of one product."""

    @property
    def flops_per_second(self) -> float:
        """2 n³ / seconds: each of n² sums takes n multiplications and n additions."""
        return 2 * self.size**3 / self.seconds


class MemoryRate(Part):
    """A copy within the memory of one device, far larger than its caches."""

    device_model: str
    bytes: PositiveCount
    """Size of the array that was copied."""
    seconds: PositiveSeconds
    """Median of one copy."""

    @property
    def bytes_per_second(self) -> float:
        """2 × bytes / seconds: a copy reads every byte and writes every byte, and both count (as in STREAM)."""
        return 2 * self.bytes / self.seconds


class Copy(Part):
    """A copy to a GPU: from the host's pinned memory, or from another GPU."""

    source: Count | None
    """CUDA index; None is the host."""
    destination: Count
    bytes: PositiveCount
    seconds: PositiveSeconds | None
    """Median of one copy; None where the data arrived damaged, which has no speed."""

    @property
    def bytes_per_second(self) -> float | None:
        """bytes / seconds."""
        return self.bytes / self.seconds if self.seconds else None


class AllReduceTime(Part):
    """All ranks sum one message of float32 numbers."""

    bytes: PositiveCount
    """Size of the message: what each rank gives and gets."""
    ranks: Annotated[int, Field(ge=2)]
    seconds: PositiveSeconds | None
    """Median of one all-reduce, on the slowest rank; None where the sum was wrong, which has no speed."""

    @property
    def algorithm_bandwidth_bytes_per_second(self) -> float | None:
        """bytes / seconds (algbw; nccl-tests, doc/PERFORMANCE.md)."""
        return self.bytes / self.seconds if self.seconds else None

    @property
    def bus_bandwidth_bytes_per_second(self) -> float | None:
        """Algorithm bandwidth × 2 (ranks − 1) / ranks (busbw; nccl-tests, doc/PERFORMANCE.md).

        What every rank must send over its link in a ring, so that it can be compared with the link whatever the ranks.
        """
        algorithm_bandwidth = self.algorithm_bandwidth_bytes_per_second
        return algorithm_bandwidth and algorithm_bandwidth * 2 * (self.ranks - 1) / self.ranks


class AllReduce(Part):
    """The exchange of step 04 between the devices of one host, from small messages to large ones."""

    backend: Literal["nccl", "gloo"]
    ranks: Annotated[int, Field(ge=2)]
    """One per device."""
    times: list[AllReduceTime]
    """By size, smallest first."""
    left_out_bytes: list[PositiveCount] = []
    """Sizes for which no time was left."""


class Probes(Part):
    """What step 01 measured. A probe that is missing here is named in `not_applicable` or in `failed`."""

    seconds: Seconds
    """How long it all took."""
    matmul: list[MatmulRate] = []
    memory: list[MemoryRate] = []
    copies: list[Copy] = []
    all_reduce: AllReduce | None = None
    not_applicable: dict[ProbeName, str] = {}
    """Probes that mean nothing on this machine, and why."""
    failed: dict[ProbeName, str] = {}
    """Probes that did not work, and what happened."""


# ---------------------------------------------------------------------------------------------- the records


class Record(Part):
    """One launch of 02, 03 or 04: one JSON file."""

    kind: Literal["run"] = "run"
    schema_version: Literal[1] = SCHEMA_VERSION
    run_id: str
    step: Literal["02", "03", "04"]
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
    devices: list[DeviceUse]
    static_memory: StaticMemory | None = None
    flops_per_sample: Count | None = None
    """Floating-point operations of forward and backward, counted by torch on the very model; None where it cannot."""
    parity: Parity | None = None
    epochs: list[Epoch] = []
    ranks: list[RankTrace] = []
    anatomy: Anatomy | None = None

    @model_validator(mode="after")
    def _lengths_agree(self) -> Record:
        steps = sum(epoch.steps for epoch in self.epochs)
        for trace in self.ranks:
            if len(trace.step_seconds) != steps or len(trace.data_wait_seconds) != steps:
                raise ValueError(f"rank {trace.rank}: {len(trace.step_seconds)} step times for {steps} steps")
            if not len(trace.host_epoch_seconds) == len(trace.samples) == len(trace.checksums) == len(self.epochs):
                raise ValueError(f"rank {trace.rank}: per-epoch lists do not match {len(self.epochs)} epochs")
        if self.status == "completed" and not (self.epochs and self.ranks):
            raise ValueError("a completed run without epochs")
        return self


class Requirement(Part):
    """One thing that the lab needs of the machine."""

    name: str
    outcome: Literal["ok", "warning", "failure"]
    found: str
    advice: str = ""


class EnvironmentRecord(Part):
    """What step 01 writes."""

    kind: Literal["environment"] = "environment"
    schema_version: Literal[1] = SCHEMA_VERSION
    run_id: str
    command: str
    started_at: str
    environment: Environment
    peer_access: list[list[bool]] = []
    """[i][j]: GPU i can read GPU j's memory directly."""
    shared_memory_bytes: Bytes | None = None
    open_files_limit: Count | None = None
    rendezvous_port_free: bool | None = None
    backends: list[str] = []
    driver_gpus: list[str] = []
    """Names of all GPUs that the driver knows, whether torch can use them or not."""
    gpu_processes: list[Count | None] = []
    """Processes that computed on each of `environment.gpus` when step 01 looked; itself is not one."""
    cuda_visible_devices: str | None = None
    """The variable CUDA_VISIBLE_DEVICES, which hides GPUs from torch."""
    cuda_error: str | None = None
    """Why torch, built for CUDA, cannot use the driver's GPUs."""
    torchvision_error: str | None = None
    """Why torchvision cannot be imported."""
    disk_free_bytes: Bytes | None = None
    """Room in the results folder."""
    requirements: list[Requirement] = []
    probes: Probes | None = None
    """What the parts can do; None where it was not measured."""


# ---------------------------------------------------------------------------------------------- derived numbers


def step_seconds(record: Record) -> list[float]:
    """Seconds of every measured step of the whole run, in order.

    A step takes as long as its slowest rank: it ends when the last rank has ended it. The ranks of an epoch start
    together, so rank r ends step i at the sum of its first i step times, and the run's step is the difference of the
    latest ends. (The maximum of the ranks' own step times would count lateness twice whenever ranks take turns.)
    """
    steps: list[float] = []
    first = 0
    for epoch in record.epochs:
        last = first + epoch.steps
        ends = [
            max(column) for column in zip(*(accumulate(r.step_seconds[first:last]) for r in record.ranks), strict=True)
        ]
        steps.extend(end - start for start, end in zip([0.0, *ends], ends, strict=False))
        first = last
    return steps


def epoch_seconds(record: Record) -> list[float]:
    """Seconds of each measured epoch: the sum of its steps, which is the slowest rank's."""
    seconds, first = [], 0
    for epoch in record.epochs:
        seconds.append(max(sum(r.step_seconds[first : first + epoch.steps]) for r in record.ranks))
        first += epoch.steps
    return seconds


def throughput(record: Record) -> float | None:
    """Samples per second over all measured epochs: Σ samples / Σ seconds. None before the first epoch has ended."""
    seconds = sum(epoch_seconds(record))
    return sum(epoch.samples for epoch in record.epochs) / seconds if seconds > 0 else None
