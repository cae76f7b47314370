"""Values carried between the ranks of a run; in a run of one process, nothing to carry."""

from __future__ import annotations

import os
from typing import TypeVar

import torch
import torch.distributed as dist

from common.errors import UsageError

_Value = TypeVar("_Value")


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
