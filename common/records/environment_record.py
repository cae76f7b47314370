"""What step 01 writes: what the machine has, what it lacks, and what its parts can do."""

from typing import Annotated, Literal

from pydantic import Field

from common.records.fields import AnyRecord, Count, FailFastList, PositiveCount, PositiveSeconds, RecordModel, Seconds
from common.records.host import Backend, Environment, Requirement
from common.records.settings import Precision

ProbeName = Literal["matmul", "memory", "copies", "all_reduce", "launches", "together"]


class MatmulRate(RecordModel):
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


class MemoryRate(RecordModel):
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


class Copy(RecordModel):
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


class AllReduceTime(RecordModel):
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
        """Algorithm bandwidth × 2 (ranks − 1) / ranks (busbw; nccl-tests, doc/PERFORMANCE.md): what every rank must
        send over its link in a ring, which compares with the link whatever the ranks."""
        algorithm_bandwidth = self.algorithm_bandwidth_bytes_per_second
        return algorithm_bandwidth and algorithm_bandwidth * 2 * (self.ranks - 1) / self.ranks


class AllReduce(RecordModel):
    """The exchange of step 04 between the devices of one host, from small messages to large ones."""

    backend: Backend
    ranks: Annotated[int, Field(ge=2)]
    """One per device."""
    times: FailFastList[AllReduceTime]
    """By size, smallest first."""
    left_out_bytes: FailFastList[PositiveCount] = []
    """Sizes for which no time was left."""


CLEARLY_FASTER = 0.8
"""Share of a time below which another one is no chance any more: medians of seven chunks differ by a few percent."""


class LaunchTimes(RecordModel):
    """What the host needs to start small work on a device; the device's own time is not in it."""

    workers: Annotated[int, Field(ge=2)]
    """Threads, and processes, that launch at once; each on a device of its own where there are as many GPUs."""
    alone_seconds: PositiveSeconds
    """One launch in one thread."""
    threads_seconds: PositiveSeconds
    """One launch in each of `workers` threads of one process at once."""
    processes_seconds: PositiveSeconds
    """One launch in each of `workers` processes at once."""
    convolution_seconds: PositiveSeconds
    """One convolution (16 channels, 14 × 14, 3 × 3) in a thread that has launched it before. On CPU cores the
    launching thread does the work as well, and its time is in it."""
    first_convolution_seconds: PositiveSeconds
    """The same in a thread that has just started."""

    @property
    def is_plausible(self) -> bool:
        """False where each of several launches clearly faster than one alone: something else slowed that one."""
        return min(self.threads_seconds, self.processes_seconds) >= CLEARLY_FASTER * self.alone_seconds

    @property
    def threads_are_dearer(self) -> bool:
        """Whether a launch takes clearly longer in threads than alone, and than in processes."""
        return max(self.alone_seconds, self.processes_seconds) < CLEARLY_FASTER * self.threads_seconds


class Together(RecordModel):
    """The same training-like work on one device by itself, and on all at once, without any exchange."""

    workers: Annotated[int, Field(ge=2)]
    """One per device."""
    alone_seconds: PositiveSeconds
    """Median of one pass."""
    together_seconds: PositiveSeconds
    """Median of one pass while all work, on the slowest."""

    @property
    def slowdown(self) -> float:
        """together / alone."""
        return self.together_seconds / self.alone_seconds


class Probes(RecordModel):
    """What step 01 measured. A probe that is missing here is named in `not_applicable` or in `failed`."""

    seconds: Seconds
    """How long it all took."""
    matmul: FailFastList[MatmulRate] = []
    memory: FailFastList[MemoryRate] = []
    copies: FailFastList[Copy] = []
    all_reduce: AllReduce | None = None
    launches: LaunchTimes | None = None
    together: Together | None = None
    not_applicable: dict[ProbeName, str] = {}
    """Probes that mean nothing on this machine, and why."""
    failed: dict[ProbeName, str] = {}
    """Probes that did not work, and what happened."""

    @property
    def device_models(self) -> set[str]:
        """Those that some rate was measured of."""
        return {rate.device_model for rate in self.matmul} | {rate.device_model for rate in self.memory}


class EnvironmentRecord(AnyRecord):
    """What step 01 writes."""

    kind: Literal["environment"] = "environment"
    command: str
    started_at: str
    environment: Environment
    peer_access: FailFastList[FailFastList[bool]] = []
    """[i][j]: GPU i can read GPU j's memory directly."""
    shared_memory_bytes: Count | None = None
    open_files_limit: Count | None = None
    own_name_found: bool | None = None
    """Whether the host's own name leads to an address of this host, where torchrun lets the ranks meet."""
    slowing_variables: list[str] | None = None
    """Of `environment.variables` and those of the transport, the ones that spoil what is measured."""
    loopback_up: bool | None = None
    """Whether its processes reach each other at 127.0.0.1."""
    rendezvous_port_free: bool | None = None
    backends: FailFastList[str] = []
    driver_gpus: FailFastList[str] = []
    """Names of all GPUs that the driver knows, whether torch can use them or not."""
    driver_capabilities: FailFastList[str] = []
    """Compute capabilities of these GPUs ("7.5"), as far as the driver tells them."""
    torch_architectures: FailFastList[str] = []
    """What torch was compiled for (`torch.cuda.get_arch_list()`), such as sm_75; empty where CUDA does not start."""
    gpu_processes: FailFastList[Count | None] = []
    """Processes that computed on each of `environment.gpus` when step 01 looked; itself is not one."""
    cuda_visible_devices: str | None = None
    """The variable CUDA_VISIBLE_DEVICES, which hides GPUs from torch."""
    cuda_error: str | None = None
    """Why torch, built for CUDA, cannot use the driver's GPUs."""
    torchvision_error: str | None = None
    """Why torchvision cannot be imported."""
    disk_free_bytes: Count | None = None
    """Room in the results folder."""
    requirements: FailFastList[Requirement] = []
    probes: Probes | None = None
    """What the parts can do; None where it was not measured."""
