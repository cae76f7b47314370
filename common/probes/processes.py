"""Processes of their own for the probes, one for each device, and the exchange of step 04 between them by itself.

A probe that hangs or dies can do no harm to the caller: a copy between GPUs can hang for ever on a badly set up host,
and no thread of the same process could end it. In the exchange all devices of this host sum a message, from small ones
to large ones.

Times and bandwidths are those of nccl-tests (doc/PERFORMANCE.md): back-to-back, in place, float32, and the result is
checked. One process per device, over the backend that step 04 uses here.
"""

import signal
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from multiprocessing import connection, get_context
from multiprocessing.connection import Connection
from statistics import median
from tempfile import TemporaryDirectory
from time import monotonic, perf_counter
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from common.machine.before_torch import alike_cores, start_fork_server
from common.machine.devices import LocalDevices, listed_devices, one_device
from common.records import AllReduce, AllReduceTime, Backend

SIZES = tuple(4 * 2**10 * 2**power for power in range(17))
"""4 KiB to 256 MiB, in bytes."""
MAX_CORES = 8
"""Ranks on a host without GPUs: each needs about half a GiB, and a server may have hundreds of cores."""
BUDGET_SECONDS = 10.0
BATCHES = 5
BATCH_SECONDS = 0.02
MAX_IN_A_BATCH = 50
ROW = 1024
"""Numbers in 4 KiB, the smallest message."""

Exchange = Callable[[Tensor], object]
"""Sums a tensor over all ranks, in place."""


class ProbeError(Exception):
    """A probe that gave no result; the message says what happened to it."""


def run_in_processes(function: Callable[[int], Any], ranks: int, limit_seconds: float) -> list[Any]:
    """`function(rank)` in `ranks` new processes at once; their results by rank.

    `function` is picklable and so is what it returns. Raises `ProbeError` as soon as one of them raises or dies, or
    when `limit_seconds` have passed; the others are ended then.
    """
    # forkserver: a child of this process could not use CUDA if this one has.
    start_fork_server()
    context = get_context("forkserver")
    processes, waiting, results = [], {}, [None] * ranks
    deadline = monotonic() + limit_seconds
    try:
        for rank in range(ranks):
            receiver, sender = context.Pipe(duplex=False)
            processes.append(context.Process(target=_child, args=(function, rank, sender), daemon=True))
            processes[-1].start()
            sender.close()  # the child holds the other one: when it dies, the pipe ends
            waiting[receiver] = rank
        while waiting:
            ready = connection.wait(waiting, timeout=max(0.0, deadline - monotonic()))
            if not ready:
                raise ProbeError(f"not finished after {limit_seconds:.0f} s")
            for receiver in waiting.keys() & ready:
                rank = waiting.pop(receiver)
                try:
                    results[rank], error = receiver.recv()
                except EOFError:
                    processes[rank].join()
                    raise ProbeError(f"process {rank} died (exit code {processes[rank].exitcode})") from None
                if error:
                    raise ProbeError(error)
    finally:
        for process in processes:
            process.kill()
            process.join()
    return results


def _child(function: Callable[[int], Any], rank: int, sender: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches it, too; the parent answers it and ends its children
    try:
        sender.send((function(rank), None))
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        sender.send((None, f"{type(error).__name__}: {reason}" if reason else type(error).__name__))


def probed_device(number: int) -> LocalDevices:
    """For a probe's process or thread of this number: its GPU, or one CPU core. More than there are GPUs share them."""
    if not torch.cuda.is_available():
        return one_device("cpu")
    return listed_devices("cuda", str(number % torch.cuda.device_count()))


def ranks_here(most_cores: int = MAX_CORES) -> int:
    """Devices that take part: every GPU, or up to `most_cores` CPU cores."""
    # torch also counts GPUs that it cannot use, where the driver is too old for it.
    return torch.cuda.device_count() if torch.cuda.is_available() else min(alike_cores(), most_cores)


def measure_all_reduce(
    ranks: int,
    limit_seconds: float,
    sizes: Sequence[int] = SIZES,
    budget_seconds: float = BUDGET_SECONDS,
    exchange: Exchange = dist.all_reduce,
) -> AllReduce:
    """Time every size, smallest first, until the next one would exceed the budget. Sizes are multiples of 4 KiB.

    Raises `ProbeError` if a rank fails or if they are not done after `limit_seconds`.
    """
    backend: Backend = "nccl" if torch.cuda.is_available() else "gloo"
    with TemporaryDirectory() as folder:
        # The ranks meet in a file: a port could be taken, or be taken between looking for it and using it.
        probe = partial(_rank_times, f"{folder}/store", ranks, backend, sizes, budget_seconds, exchange)
        times = run_in_processes(probe, ranks, limit_seconds)[0]
    return AllReduce(backend=backend, ranks=ranks, times=times, left_out_bytes=list(sizes[len(times) :]))


def _rank_times(
    file: str, ranks: int, backend: Backend, sizes: Sequence[int], budget: float, exchange: Exchange, rank: int
) -> list[AllReduceTime]:
    device = probed_device(rank).device
    dist.init_process_group(
        backend,
        store=dist.FileStore(file, ranks),  # not as init_method="file://…", which takes `#` and `?` for parts of a URL
        rank=rank,
        world_size=ranks,
        timeout=timedelta(minutes=1),
        device_id=device if device.type == "cuda" else None,
    )
    times: list[AllReduceTime] = []
    started = last = perf_counter()
    for size in sizes:
        message = torch.empty(size // (4 * ROW), ROW, device=device)
        times.append(AllReduceTime(bytes=size, ranks=ranks, seconds=_median_seconds(message, exchange)))
        now = perf_counter()
        # The next size has twice the bytes. All ranks must stop at the same one.
        if _largest(now - started + 2 * (now - last), device) > budget:
            break
        last = now
    if device.type == "cuda":
        dist.destroy_process_group()
    # A group of gloo goes with its process: before torch 2.8 ending it waits for threads with the interpreter's lock in
    # its hands, for good if one of them wants the lock to drop its last tensor (pytorch#154976). Two of five hung.
    return times


def _median_seconds(message: Tensor, exchange: Exchange) -> float | None:
    """Seconds of one all-reduce of `message` on the slowest rank; None if a sum is wrong, before or after timing it."""
    right = _sum_is_right(message, exchange)  # the first one also warms up
    message.zero_()
    once = _batch_seconds(message, 1, exchange)
    repeats = max(1, min(MAX_IN_A_BATCH, int(BATCH_SECONDS / once)))
    seconds = median(_batch_seconds(message, repeats, exchange) for _ in range(BATCHES))
    return seconds if _sum_is_right(message, exchange) and right else None


def _batch_seconds(message: Tensor, repeats: int, exchange: Exchange) -> float:
    _largest(0.0, message.device)  # all start together
    started = perf_counter()
    for _ in range(repeats):
        exchange(message)
    if message.is_cuda:
        torch.cuda.synchronize(message.device)
    return _largest((perf_counter() - started) / repeats, message.device)


def _sum_is_right(message: Tensor, exchange: Exchange) -> bool:
    """Whether every number of the sum is right on every rank. Small whole numbers: their float32 sum is exact."""
    ranks, pattern = dist.get_world_size(), torch.arange(ROW, dtype=torch.float32, device=message.device)
    message.copy_(pattern + dist.get_rank())
    exchange(message)
    wrong = not bool((message == ranks * pattern + sum(range(ranks))).all())
    return _largest(float(wrong), message.device) == 0.0


def _largest(value: float, device: torch.device) -> float:
    """The largest of all ranks' values, on every rank; waits for all of them."""
    largest = torch.tensor(value, dtype=torch.float64, device=device)
    dist.all_reduce(largest, dist.ReduceOp.MAX)
    return largest.item()
