"""DistributedDataParallel: the process group of torchrun's ranks, and what the wrapper's options need."""

import atexit
import gc
import inspect
import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

# Some of its functions have the process group of the moment of its import as a default argument. DDP imports it, after
# the group is made: the group would then live, and its threads with it, until the process is gone.
import torch.distributed.nn.functional
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks, powerSGD_hook
from torch.nn.parallel import DistributedDataParallel

from common.command_line.commands import check_interfaces
from common.errors import UsageError
from common.machine.devices import LocalDevices
from common.records import NEWER_OPTIONS, CommHook, DdpOptions, has_option, joint_model

SILENT_BACKENDS = ("nccl",)
"""Those whose exchange does not raise where the host waits for it."""
WATCHDOG_GRACE = timedelta(seconds=30)
"""More time for NCCL's own watchdog, which ends the process without a word, than for the lab's."""


def rendezvous(devices: LocalDevices, timeout_seconds: float) -> dict[str, Any]:
    """Let the ranks meet at the address that torchrun left in the environment; blocks until all are there.

    They tell each other which device each has, which decides the backend of `devices`. Returns the other arguments of
    `dist.init_process_group`. Raises `UsageError` where they cannot meet.
    """
    timeout = timedelta(seconds=timeout_seconds)
    try:
        store, rank, processes = next(dist.rendezvous("env://", timeout=timeout))
    except (dist.DistError, ValueError, TypeError, OverflowError) as error:
        raise _cannot_meet(error) from None
    if devices.world.nodes == 1:
        # Ranks that torchrun has restarted share its store with those that died, whose addresses are still in it
        # (pytorch#135712). Over several nodes the number of restarts is no common name: docs/multi_node.md.
        store = dist.PrefixStore(f"attempt_{devices.world.restarts}", store)
        others = store.compare_set("world_size", "", str(processes)).decode()  # the first rank's
        if others != str(processes):
            raise UsageError(
                f"WORLD_SIZE is {processes} for rank {rank} and {others} for another rank: start all ranks with one "
                "torchrun --standalone --nproc_per_node=N, which tells each of them the same"
            )
    agree_on_devices(devices, store)
    check_interfaces(devices.world.backend or "gloo")
    return {
        "store": store,
        "rank": rank,
        "world_size": processes,
        "timeout": timeout + WATCHDOG_GRACE if devices.world.backend in SILENT_BACKENDS else timeout,
        # Ties NCCL to this rank's GPU at once; otherwise it guesses at the first collective, and may open GPU 0.
        "device_id": devices.device if devices.world.backend == "nccl" else None,
    }


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
    host, uuid = socket.gethostname(), getattr(torch.cuda.get_device_properties(devices.device), "uuid", None)
    gpu = str(uuid) if uuid else f"{host} {os.environ.get('CUDA_VISIBLE_DEVICES')} {devices.device.index}"
    own = {"host": host, "gpu": gpu, "model": devices.world.device_model}
    store.set(f"device_{devices.rank}", json.dumps(own))
    ranks = [json.loads(store.get(f"device_{rank}")) for rank in range(devices.world.processes)]
    here = list(dict.fromkeys(one["gpu"] for one in ranks if one["host"] == host))
    devices.numbers[:] = [here.index(gpu)]
    devices.world.shared = len({one["gpu"] for one in ranks}) < len(ranks)
    devices.world.backend = "gloo" if devices.world.shared else "nccl"  # NCCL refuses two ranks on one GPU
    devices.world.device_model = joint_model(one["model"] for one in ranks)


@contextmanager
def meeting_errors_in_one_line() -> Iterator[None]:
    """Raises `UsageError` where ranks that have not met wait too long for one of them, or do not reach each other."""
    try:
        yield
    except RuntimeError as error:
        is_of_the_meeting = isinstance(error, dist.DistNetworkError) or "timeout" in str(error).lower()
        if dist.is_initialized() or not is_of_the_meeting:
            raise
        raise _cannot_meet(error) from None


@contextmanager
def clean_shutdown(devices: LocalDevices) -> Iterator[None]:
    """For what ranks do together, if there are any: prepares their way out, `dist.destroy_process_group()`.

    A rank that fails does not call it: the others may be in a collective. Its process ends with the code and the output
    that the error would have given it, but without the interpreter's last steps.
    """
    if not dist.is_initialized():
        yield
        return
    last_holder = [dist.group.WORLD]
    try:
        yield
    except BaseException as error:
        atexit.register(_end_at_once, _exit_code(error))
        raise
    devices.synchronize()
    _let_go_at_exit(last_holder)


def _exit_code(error: BaseException) -> int:
    """That with which the interpreter would end for this error, or the lab for bad input."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    return 2 if isinstance(error, UsageError) else 1


def _let_go_at_exit(last_holder: list[Any]) -> None:
    """Keep the process group, the one thing in the list, until the process ends, and be the last to let go of it."""
    # No thread of the group may be left when the interpreter ends: if one of gloo's wants the interpreter's lock then,
    # be it to drop a tensor, the process aborts. They end with the last object that holds the group. The model under
    # DDP, which the caller has still, and which holds itself in circles, must not be that one: torch 2.11 waits for the
    # threads with the lock in its hands where the model's reducer ends them, for good if one wants it (pytorch#56297),
    # and gives it away where the group's own object does (pytorch#154976). Exit functions run when the callers are done
    # and the interpreter is whole. Before torch 2.8 nothing gives the lock away: there the process ends instead.
    if not has_option(torch.__version__, (2, 8)):
        atexit.register(_end_at_once, None, last_holder)
        return

    @atexit.register
    def release_group() -> None:
        gc.collect()
        last_holder.clear()


@contextmanager
def process_group(devices: LocalDevices, timeout_seconds: float) -> Iterator[None]:
    """The ranks of a small program of one's own, from their meeting to their end."""
    with meeting_errors_in_one_line():
        group_kwargs = rendezvous(devices, timeout_seconds)
        dist.init_process_group(devices.world.backend, **group_kwargs)
    with clean_shutdown(devices):
        yield
    dist.destroy_process_group()


def _cannot_meet(error: Exception) -> UsageError:
    where = ":".join(os.environ.get(name, "?") for name in ("MASTER_ADDR", "MASTER_PORT"))
    return UsageError(
        f"the ranks cannot meet at {where} ({str(error).splitlines()[0][:120]}): the address must be that of a "
        "machine which runs torchrun, the same on all of them; on one machine start torchrun --standalone"
    )


def _end_at_once(code: int | None, holds: object = None) -> None:
    """The last of the exit functions: nothing else ends a thread of gloo that waits for another rank.

    Without a code it is 1 where the interpreter has shown a traceback. What it `holds` lives until the process is gone.
    """
    atexit.unregister(_end_at_once)
    atexit._run_exitfuncs()  # the others, that end the loader's workers, for one
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(int(hasattr(sys, "last_value")) if code is None else code)


def ddp_kwargs(options: DdpOptions) -> dict[str, Any]:
    """The arguments of `DistributedDataParallel` that the options stand for; some, torch has renamed or added."""
    arguments: dict[str, Any] = {
        "find_unused_parameters": options.find_unused_parameters,
        "gradient_as_bucket_view": options.gradient_as_bucket_view,
        "static_graph": options.static_graph,
    }
    if options.one_bucket:
        arguments["bucket_cap_mb"] = 2**20  # more than any model's gradients
    elif options.bucket_cap_mb is not None:  # 25, torch's default, is another: with it goes a first bucket of 1 MiB
        arguments["bucket_cap_mb"] = options.bucket_cap_mb
    arguments |= {name: True for name in NEWER_OPTIONS if getattr(options, name)}
    # torch 2.13 renamed the argument, and warns about the old name.
    renamed = "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters
    arguments["forward_sync_buffers" if renamed else "broadcast_buffers"] = options.broadcast_buffers
    return arguments


def register_comm_hook(model: DistributedDataParallel, comm_hook: CommHook) -> None:
    """Let the ranks exchange fewer bytes than the gradients have; `none` leaves the exchange as it is."""
    if comm_hook == "powersgd":
        # Two exact passes, the fewest that torch allows, are those of the parity check.
        model.register_comm_hook(powerSGD_hook.PowerSGDState(None, start_powerSGD_iter=2), powerSGD_hook.powerSGD_hook)
    elif comm_hook != "none":
        model.register_comm_hook(None, getattr(default_hooks, f"{comm_hook}_compress_hook"))
