"""What the ranks of a run tell each other: values, and which GPUs they really have. One process has nobody to tell."""

from __future__ import annotations

import json
import os
import socket
from typing import TypeVar

import torch
import torch.distributed as dist

from common.machine.devices import LocalDevices
from common.records import joint_model

_Value = TypeVar("_Value")


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


def agree_on_devices(devices: LocalDevices, store: dist.Store) -> None:
    """Correct what `devices` says of sharing, backend, models and numbers by what all ranks have put into the store.

    A rank that sees one GPU as its number 0 may share it with all others, or have it alone: Slurm's `--gpus-per-task`,
    slices of MIG and torchrun's `--virtual-local-rank` show each rank a GPU of its own. The GPUs' own identities
    decide, before a backend is chosen. Tested with made-up identities; not seen on MIG, whose slices NCCL may refuse
    although they are different ones.

    All ranks call it. Blocks until each has, as long as the store's time limit allows.
    """
    if devices.kind == "cpu":
        return
    own = {"host": socket.gethostname(), "gpu": _identity(devices.device), "model": devices.world.device_model}
    store.set(f"device_{devices.rank}", json.dumps(own))
    ranks = [json.loads(store.get(f"device_{rank}")) for rank in range(devices.world.processes)]
    here = list(dict.fromkeys(one["gpu"] for one in ranks if one["host"] == own["host"]))
    devices.numbers[:] = [here.index(own["gpu"])]
    devices.world.shared = len({one["gpu"] for one in ranks}) < len(ranks)
    devices.world.backend = "gloo" if devices.world.shared else "nccl"  # NCCL refuses two ranks on one GPU
    devices.world.device_model = joint_model(one["model"] for one in ranks)


def _identity(device: torch.device) -> str:
    """The GPU's UUID, the same for all that see it under whatever number; else its host, slot and visible number."""
    properties = torch.cuda.get_device_properties(device)
    uuid = getattr(properties, "uuid", None)
    return str(uuid) if uuid else f"{socket.gethostname()} {os.environ.get('CUDA_VISIBLE_DEVICES')} {device.index}"
