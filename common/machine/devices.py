"""Which devices a run uses, what they are called, threads of each, and what its ranks tell each other.

A device is one CUDA GPU. On a host without any, one CPU core (one thread) stands in for it.
"""

import os
import re
from dataclasses import dataclass
from typing import Any, TypeVar

# Before torch: see there.
from common.machine.before_torch import alike_cores, cpu_cores, cpu_model, give_cores_back, stay_on

# isort: split
import torch
import torch.distributed as dist

from common.errors import UsageError
from common.formats import CORE_OF
from common.records import JOINED, DeviceKind, World, joint_model

_Value = TypeVar("_Value")

give_cores_back()


@dataclass(frozen=True)
class LocalDevices:
    """The devices of this process, and its rank among all processes of the run."""

    kind: DeviceKind
    indices: tuple[int, ...]
    """CUDA indices, or numbers of the stand-in cores; the first one holds the model."""
    world: World
    rank: int
    numbers: list[int]
    """What the devices are called beside those of the host's other ranks, each of which may see its own as number 0."""

    @property
    def device(self) -> torch.device:
        """The device that holds the model and receives the batch."""
        return torch.device("cuda", self.indices[0]) if self.kind == "cuda" else torch.device("cpu")

    @property
    def device_ids(self) -> list[int] | None:
        """Those that a wrapper wants listed: CUDA indices; None on CPU, where DDP takes none."""
        return list(self.indices) if self.kind == "cuda" else None

    def synchronize(self) -> None:
        """Wait until every device of this process has finished its work."""
        if self.kind == "cuda":
            for index in set(self.indices):
                torch.cuda.synchronize(index)


def one_device(requested: str) -> LocalDevices:
    """The first GPU, or one CPU core."""
    return _place(_kind(requested), (0,))


def listed_devices(requested: str, gpus: str | None) -> LocalDevices:
    """The devices of one process by number (`"0,1,2,3"`), or all there are, of CPU cores those of the fastest kind.

    A GPU may be listed twice: its replicas then share it. Cores are counted off, 0,1,2,…, and may be more than there
    are. Raises `UsageError` for a list that is no list of devices of this machine.
    """
    kind = _kind(requested)
    available = torch.cuda.device_count() if kind == "cuda" else alike_cores()
    try:
        indices = tuple(range(available)) if gpus is None else tuple(int(part) for part in gpus.split(","))
    except ValueError:
        raise UsageError(f"--gpus {gpus!r} is not a list of device numbers such as 0,1") from None
    if kind == "cuda" and not all(0 <= index < available for index in indices):
        there = ",".join(map(str, range(available)))
        raise UsageError(f"--gpus {gpus}: this machine has {available} GPU{'s' * (available > 1)}; try --gpus {there}")
    if kind == "cpu" and indices != tuple(range(len(indices))):
        raise UsageError(
            f"--gpus {gpus}: CPU cores stand in for GPUs here and are counted off 0,1,2,…; give --gpus 0,1"
        )
    return _place(kind, indices, emulated=kind == "cpu")


def rank_device(requested: str, local_rank: int) -> LocalDevices:
    """The device of rank `local_rank` of this host; ranks beyond the last GPU share the GPUs.

    Backend and sharing are right once the ranks have met (`agree_on_devices`): until then nobody knows whether a rank
    sees all GPUs, or one of its own alone (Slurm's `--gpus-per-task`, slices of MIG, `--virtual-local-rank`).
    """
    kind = _kind(requested)
    ranks_here, ranks = of_torchrun("LOCAL_WORLD_SIZE", local_rank + 1), of_torchrun("WORLD_SIZE", 1)
    return _place(
        kind,
        (local_rank % torch.cuda.device_count() if kind == "cuda" else local_rank,),
        rank=of_torchrun("RANK", 0, ranks),
        ranks_here=ranks_here,
        processes=ranks,
        nodes=of_torchrun("GROUP_WORLD_SIZE", 1, default="1"),
        restarts=of_torchrun("TORCHELASTIC_RESTART_COUNT", 0, default="0"),
        backend="nccl" if kind == "cuda" else "gloo",
    )


def of_torchrun(name: str, least: int, below: int = 2**31, default: str | None = None) -> int:
    """A number that torchrun has left in the environment. Raises `UsageError` where somebody else has."""
    text = os.environ.get(name, default)
    if text is None:
        raise UsageError(
            "this step runs as one process per device and is started by torchrun: "
            "torchrun --standalone --nproc_per_node=2 04_ddp_training.py"
        )
    if not (text.isascii() and text.isdigit() and least <= int(text) < below):
        raise UsageError(f"{name}={text!r} in the environment is none of torchrun's: unset it, and start torchrun")
    return int(text)


def default_workers(kind: DeviceKind) -> int:
    """Loader processes per device: a core that stands in for a device has none to spare."""
    if kind == "cpu":
        return 0
    ranks = os.environ.get("LOCAL_WORLD_SIZE", "1")  # of which each may see a single GPU
    return min(4, cpu_cores() // max(torch.cuda.device_count(), int(ranks) if ranks.isdigit() else 1))


def _kind(requested: str) -> DeviceKind:
    if requested == "cuda" and not torch.cuda.is_available():
        raise UsageError(
            "--device cuda: torch finds no CUDA GPU here; 01_environment_check.py says why, --device cpu runs"
        )
    return "cuda" if requested != "cpu" and torch.cuda.is_available() else "cpu"


def _place(
    kind: DeviceKind, indices: tuple[int, ...], rank: int = 0, ranks_here: int = 1, processes: int = 1, **world: Any
) -> LocalDevices:
    """`world`: what else the devices of this process do not show."""
    # One thread per device in every method: torchrun sets OMP_NUM_THREADS=1 for its ranks and plain python does not.
    torch.set_num_threads(1)
    replicas = ranks_here * len(indices)
    if kind == "cuda":
        if "backend" not in world:  # step 04 does so itself
            torch.cuda.set_device(indices[0])
        device_model = joint_model(map(torch.cuda.get_device_name, indices))
    else:
        kinds = stay_on(replicas)
        device_model = f"{CORE_OF}{cpu_model()}" + (f" ({JOINED.join(kinds)})" if kinds else "")
    # Of NCCL's and gloo's own variables those that may change a byte's way.
    steering = sorted(name for name in os.environ if re.match("GLOO_|NCCL_(?!DEBUG|VERSION)", name))
    all_devices = World(
        device_kind=kind,
        device_model=device_model,
        devices=processes * len(indices),
        processes=processes,
        transport=" ".join(f"{name}={os.environ[name]}" for name in steering),
        shared=len(set(indices)) < len(indices),
        oversubscribed=kind == "cpu" and replicas > cpu_cores(),
        **world,
    )
    return LocalDevices(kind, indices, all_devices, rank, numbers=list(indices))


def gathered(value: _Value) -> list[_Value]:
    """The value of every rank, on every rank."""
    if not dist.is_initialized():
        return [value]
    values: list = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def from_rank_0(value: _Value) -> _Value:
    """Rank 0's value, on every rank."""
    values = [value]
    if dist.is_initialized():
        dist.broadcast_object_list(values)
    return values[0]


def barrier() -> None:
    """Wait until every rank is here."""
    if dist.is_initialized():
        dist.barrier()


def backend_class() -> str | None:
    """The class that carries the exchange, `ProcessGroupNCCL` say; None in a run of one process.

    torch 2.15 calls its rewritten NCCL backend `nccl`, too, so that the backend's name does not tell which one ran.
    """
    if not dist.is_initialized():
        return None
    kind = "cuda" if dist.get_backend() == "nccl" else "cpu"
    return type(dist.group.WORLD._get_backend(torch.device(kind))).__name__
