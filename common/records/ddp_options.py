"""Arguments of DistributedDataParallel that a run was given: settings of step 04 alone."""

from __future__ import annotations

from functools import partial
from typing import Literal

from common.records.setting_declaration import RecordModel, setting, settings_of

CommHook = Literal["none", "fp16", "bf16", "powersgd"]
Exchange = Literal["ddp", "per-parameter", "flat", "overlapped", "mine"]
_of_ddp = partial(setting, group="ddp")


def has_option(torch: str, since: tuple[int, int]) -> bool:
    """Whether torch of this version, `2.14.1+cu130`, has what came with `since`."""
    return tuple(map(int, torch.split(".")[:2])) >= since


class DdpOptions(RecordModel):
    """Arguments of `DistributedDataParallel`, under torch's own names, and what goes with it."""

    exchange: Exchange = _of_ddp("ddp", "ddp: torch's class; others: built by hand, without torch's options (lessons/)")
    find_unused_parameters: bool = _of_ddp(
        False, "look for parameters without gradient each step", either="graph", has_no=True
    )
    gradient_as_bucket_view: bool = _of_ddp(True, "gradients live in the all-reduce buckets", has_no=True)
    bucket_cap_mb: float | None = _of_ddp(
        None, "size", otherwise="torch's: 25, the first one 1", gt=0, metavar="MIB", either="buckets"
    )
    """MiB of gradients in one all-reduce. To ask for torch's 25 is not the same: the first one then has 25, too."""
    one_bucket: bool = _of_ddp(False, "exchange all gradients at once, at the end", either="buckets")
    """When the last gradient is ready: nothing overlaps with the backward pass."""
    static_graph: bool = _of_ddp(False, "every step uses the same parameters", either="graph")
    batched_grad_copy: bool = _of_ddp(False, "gradients go to their buckets in batches (torch 2.12)", since=(2, 12))
    lazy_bucket_allocation: bool = _of_ddp(False, "buckets get memory when first needed (torch 2.15)", since=(2, 15))
    broadcast_buffers: bool = _of_ddp(False, "copy rank 0's buffers to all ranks each forward", has_no=True)
    sync_bn: bool = _of_ddp(
        False,
        "BatchNorm over the global batch (GPUs only)",
        needs_gpus="torch's SyncBatchNorm has no CPU implementation",
    )
    comm_hook: CommHook = _of_ddp("none", "compression of the exchanged gradients")
    timeout_seconds: float = _of_ddp(
        600.0,
        "longest that a collective may take",
        gt=0,
        flag="timeout",
        metavar="SECONDS",
        exempt="changes nothing that is measured",
    )


NEWER_OPTIONS = {name: declared.since for name, declared in settings_of(DdpOptions).items() if declared.since}
"""Options of DDP that are younger than the oldest torch that the lab runs with, and their versions."""
