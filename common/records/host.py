"""Where a run took place: the host with its anonymous identity, its devices taken together, and what each one did."""

from collections.abc import Iterable
from hashlib import sha256
from typing import Annotated, Literal

from pydantic import Field

from common.records.fields import Amount, Count, FailFastList, FiniteFloat, PositiveCount, RecordModel, Seconds, Whole

DeviceKind = Literal["cuda", "cpu"]
Backend = Literal["nccl", "gloo"]
JOINED = " + "
"""Between the models of unlike devices."""
BY_NAME = "by-name-"
"""Begins an identity that rests on the host's name."""


class Gpu(RecordModel):
    """One GPU as driver and torch describe it; None where NVML or torch cannot tell."""

    index: Count
    name: str
    uuid: str | None = None
    compute_capability: str | None = None
    memory_total_bytes: Count | None = None
    memory_free_bytes: Count | None = None
    pcie_generation: Whole | None = None
    pcie_width: Whole | None = None
    nvlink_links: Whole | None = None
    """Active NVLink links of this GPU."""


class CoreKind(RecordModel):
    """Cores of one kind, on a machine that has several: P- and E-cores, big and little ones."""

    name: str
    cores: PositiveCount
    """Those that the process may run on."""
    physical_cores: PositiveCount | None = None


class Environment(RecordModel):
    """Software and hardware of one host."""

    hostname: str
    machine: str | None = None
    """Anonymous: a salted hash of its GPUs' UUIDs, else of its machine or boot id and its CPU; None in older records. A
    host's name is no identity: two machines may share one, and a container gets a new one each time."""
    platform: str
    python: str
    interpreter_lock: bool | None = None
    """Whether only one thread at a time may run Python (the GIL); None in records from before it was asked."""
    torch: str
    torchvision: str | None
    cuda: str | None = None
    """CUDA version that torch was built with."""
    driver: str | None = None
    cudnn: str | None = None
    nccl: str | None = None
    cpu_model: str
    cpu_cores: PositiveCount
    """Cores that this process may run on, or keep busy within its quota."""
    physical_cores: PositiveCount | None = None
    """Different cores among them: two hardware threads of one share its arithmetic."""
    core_kinds: FailFastList[CoreKind] = []
    """The fastest first; nothing where all cores are alike, and in older records."""
    cpu_quota: Annotated[FiniteFloat, Field(gt=0)] | None = None
    """Cores' worth of time that the control group allows; None where it sets no limit."""
    ram_bytes: Count | None = None
    """Of the host, or what the control group allows of it."""
    load_average_1min: Seconds | None = None
    """Runnable processes on the host in the minute before the run began, as the kernel counts them."""
    gpus: FailFastList[Gpu] = []
    variables: str = ""
    """Environment variables that change speed (`steering_variables`), as they were set; nothing in older records."""

    @property
    def devices(self) -> int:
        """GPUs; without any, CPU cores."""
        return len(self.gpus) or self.cpu_cores

    @property
    def alike_cores(self) -> int:
        """Cores that can stand in for so many devices of one kind, the fastest."""
        return min([self.cpu_cores, *(kind.cores for kind in self.core_kinds[:1])])


def machine_hash(kind: Literal["gpus", "host", "name"], *parts: str) -> str:
    """A machine's identity: by the sorted UUIDs of all of its `gpus`; by an id of the `host`'s system and by its CPU,
    for copies of one virtual machine may have one id; or by its `name` and parts."""
    salted = "DataParallel lab, which machine: " + "\n".join((kind, *parts))  # so that no other list of hashes fits
    return sha256(salted.encode(errors="surrogatepass")).hexdigest()[:12]


def machine_of(environment: Environment) -> str:
    """The identity that a record has. Of an older one that has none, the same is computed by the UUIDs of its GPUs;
    without these by its name, processor and GPU models, and begins with `BY_NAME`."""
    if environment.machine:
        return environment.machine
    uuids = [gpu.uuid for gpu in environment.gpus if gpu.uuid]
    if uuids and len(uuids) == len(environment.gpus):
        return machine_hash("gpus", *sorted(uuids))
    names = sorted(gpu.name for gpu in environment.gpus)
    host = (environment.hostname, environment.cpu_model, str(environment.cpu_cores))
    return BY_NAME + machine_hash("name", *host, *names)


def joint_model(names: Iterable[str]) -> str:
    """One name for all devices: that of their model, or `NVIDIA A + NVIDIA B` where models differ, device 0's first."""
    return JOINED.join(dict.fromkeys(names))


class World(RecordModel):
    """The devices of a run taken together."""

    device_kind: DeviceKind
    device_model: str
    """Of all of them, by `joint_model`; of cores `1 core of A CPU`, and where it has several kinds of core, the kinds
    that ran: `1 core of A CPU (P-core + E-core)`."""
    devices: PositiveCount
    processes: PositiveCount
    nodes: PositiveCount = 1
    restarts: Count = 0
    """How often torchrun had started the ranks anew (`--max-restarts`) before these, as rank 0's node has counted."""
    backend: Backend | None = None
    transport: str = ""
    """Variables that steer how NCCL or gloo sends, as they were set: `NCCL_P2P_DISABLE=1`."""
    threads_per_device: PositiveCount = 1
    """CPU threads that torch may use within one operation, per process (GPU) or device (CPU)."""
    emulated: bool = False
    """DataParallel on CPU cores: torch has none, so common/training/data_parallel.py ran the same algorithm."""
    shared: bool = False
    """Several replicas or ranks on one GPU."""
    oversubscribed: bool = False
    """More devices asked for than there are CPU cores."""

    @property
    def flags(self) -> list[str]:
        """What keeps its devices from being as many as they are called: `emulated`, `shared`, `oversubscribed`."""
        return [flag for flag in ("emulated", "shared", "oversubscribed") if getattr(self, flag)]

    @property
    def models(self) -> list[str]:
        """Each different model among the devices."""
        if self.device_kind == "cuda":
            return self.device_model.split(JOINED)
        cpu, _, kinds = self.device_model.removesuffix(")").rpartition(" (")
        return [f"{cpu} ({kind})" for kind in kinds.split(JOINED)] if JOINED in kinds else [self.device_model]

    @property
    def threads(self) -> int:
        """Threads that the run keeps busy: one for each GPU, or all those of its CPU devices."""
        return self.devices * (self.threads_per_device if self.device_kind == "cpu" else 1)

    @property
    def has_unlike_devices(self) -> bool:
        """Whether devices of different models, or cores of different kinds, trained together: none stands for all."""
        return len(self.models) > 1


class Requirement(RecordModel):
    """One thing that the lab needs of the machine."""

    name: str
    outcome: Literal["ok", "note", "warning", "failure"]
    """note: worth knowing, and nothing is harmed."""
    found: str
    advice: str = ""


class DeviceMemory(RecordModel):
    """Peaks over the measured epochs. On CPU only `peak_process_bytes`, of the process that drives the device."""

    peak_allocated_bytes: Count | None = None
    """torch's CUDA allocator: in tensors."""
    peak_reserved_bytes: Count | None = None
    """torch's CUDA allocator: taken from the driver."""
    peak_process_bytes: Count | None = None
    """GPU: most that this process was seen to hold on the device (NVML, sampled). CPU: peak resident set size."""


class GpuHealth(RecordModel):
    """NVML readings of one GPU, about one a second during the measured epochs."""

    samples: PositiveCount
    sm_clock_mhz_min: Count | None = None
    sm_clock_mhz_median: Count | None = None
    sm_clock_mhz_max: Count | None = None
    temperature_celsius_max: Whole | None = None
    throttle_reasons: FailFastList[str] = []
    """Names of the reasons seen that slow the clock (power cap, thermal, …); idle is not one."""
    other_processes: Count | None = None
    """Processes on the GPU that do not belong to this run, the most seen at once."""


class DeviceUse(RecordModel):
    """One device of a run. A device on which several replicas ran is listed once for each of them."""

    host: str
    rank: Count
    index: Count
    """CUDA index, or number of the stand-in core."""
    name: str
    capacity_bytes: Count | None = None
    memory: DeviceMemory = DeviceMemory()
    health: GpuHealth | None = None
    energy_joules: Amount | None = None
    """Drawn by the whole GPU during the measured epochs (NVML's counter)."""
    idle_watts: Amount | None = None
    """Power of the GPU before the first step, with nothing to do; `idle_watts` × seconds of `energy_joules` is idle."""
