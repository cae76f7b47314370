"""DistributedDataParallel: the process group of torchrun's ranks, and the wrapper with the lab's options."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from common.devices import Place
from common.metrics import DdpOptions


@contextmanager
def process_group(place: Place, timeout_seconds: float) -> Iterator[None]:
    """Meet the other ranks at the address that torchrun left in the environment, and part from them at the end.

    Blocks until all ranks are there. A rank that fails leaves without parting: the others may be in a collective.
    """
    dist.init_process_group(
        place.world.backend,
        timeout=timedelta(seconds=timeout_seconds),
        # Ties NCCL to this rank's GPU at once; otherwise it guesses at the first collective, and may open GPU 0.
        device_id=place.first if place.world.backend == "nccl" else None,
    )
    yield
    dist.destroy_process_group()


def distributed_data_parallel(module: nn.Module, place: Place, options: DdpOptions) -> DistributedDataParallel:
    """`module`, which lies on this rank's device, kept in step with the other ranks'."""
    arguments = {} if options.bucket_cap_mb is None else {"bucket_cap_mb": options.bucket_cap_mb}
    # torch 2.13 renamed the argument, and warns about the old name.
    renamed = "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters
    arguments["forward_sync_buffers" if renamed else "broadcast_buffers"] = options.broadcast_buffers
    return DistributedDataParallel(
        module,
        device_ids=[place.first] if place.kind == "cuda" else None,
        find_unused_parameters=options.find_unused_parameters,
        gradient_as_bucket_view=options.gradient_as_bucket_view,
        **arguments,
    )
