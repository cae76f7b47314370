"""DistributedDataParallel: the process group of torchrun's ranks, and the wrapper with the lab's options."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta

import torch.distributed as dist
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks, powerSGD_hook
from torch.nn.parallel import DistributedDataParallel

from common.machine.devices import Place
from common.records import DdpOptions


@contextmanager
def process_group(place: Place, timeout_seconds: float) -> Iterator[None]:
    """Meet the other ranks at the address that torchrun left in the environment, and part from them at the end.

    Blocks until all ranks are there. A rank that fails leaves without parting: the others may be in a collective.
    """
    timeout = timedelta(seconds=timeout_seconds)
    store, rank, processes = next(dist.rendezvous("env://", timeout=timeout))
    if place.world.nodes == 1:
        # Ranks that torchrun has restarted share its store with those that died, whose addresses are still in it
        # (pytorch#135712). Over several nodes the number of restarts is no common name: docs/multi_node.md.
        store = dist.PrefixStore(f"attempt_{place.world.restarts}", store)
    dist.init_process_group(
        place.world.backend,
        store=store,
        rank=rank,
        world_size=processes,
        timeout=timeout,
        # Ties NCCL to this rank's GPU at once; otherwise it guesses at the first collective, and may open GPU 0.
        device_id=place.first if place.world.backend == "nccl" else None,
    )
    yield
    dist.destroy_process_group()


def distributed_data_parallel(module: nn.Module, place: Place, options: DdpOptions) -> DistributedDataParallel:
    """`module`, which lies on this rank's device, kept in step with the other ranks'."""
    if options.sync_bn:
        module = nn.SyncBatchNorm.convert_sync_batchnorm(module)
    arguments = {} if options.bucket_cap_mb is None else {"bucket_cap_mb": options.bucket_cap_mb}
    if options.one_bucket:
        arguments["bucket_cap_mb"] = sum(p.nbytes for p in module.parameters()) / 2**20 + 1
    # torch 2.13 renamed the argument, and warns about the old name.
    renamed = "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters
    arguments["forward_sync_buffers" if renamed else "broadcast_buffers"] = options.broadcast_buffers
    model = DistributedDataParallel(
        module,
        device_ids=[place.first] if place.kind == "cuda" else None,
        find_unused_parameters=options.find_unused_parameters,
        gradient_as_bucket_view=options.gradient_as_bucket_view,
        static_graph=options.static_graph,
        **arguments,
    )
    if options.comm_hook == "powersgd":
        # Two exact passes, the fewest that torch allows, are those of the parity check.
        model.register_comm_hook(powerSGD_hook.PowerSGDState(None, start_powerSGD_iter=2), powerSGD_hook.powerSGD_hook)
    elif options.comm_hook != "none":
        model.register_comm_hook(None, getattr(default_hooks, f"{options.comm_hook}_compress_hook"))
    return model


def without_exchange(model: nn.Module) -> AbstractContextManager:
    """Gradients of the forward and backward passes in here stay on their rank, to be exchanged with the next one's.

    Only DistributedDataParallel has an exchange to leave out; elsewhere this does nothing.
    """
    return model.no_sync() if isinstance(model, DistributedDataParallel) else nullcontext()
