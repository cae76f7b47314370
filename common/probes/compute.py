"""Matrix products, memory and copies: what one device can do at best, and what a pair of GPUs can carry.

Each probe runs in processes of its own, one thread for a CPU core, and returns parts of the record. One that hangs or
dies can do no harm to the caller: a copy between GPUs can hang for ever on a badly set up host, and no thread of the
same process could end it.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from multiprocessing import connection, get_context
from multiprocessing.connection import Connection
from statistics import median
from time import monotonic, perf_counter
from typing import Any

import torch

from common.machine.before_torch import start_fork_server
from common.machine.devices import LocalDevices, listed_devices, one_device
from common.machine.torch_versions import MATMUL, has_tf32
from common.measuring.clocks import StepClock
from common.records import Copy, MatmulRate, MemoryRate, Precision

MATMUL_SIZES = {"cpu": (512, 1024, 2048), "cuda": (2048, 4096, 8192)}
MEMORY_BYTES = 512 * 2**20
"""With its copy 1 GiB: about three times the largest last-level caches (300 to 400 MiB, server CPUs)."""
COPY_BYTES = 64 * 2**20

WARM_UP_SECONDS = 0.1
"""An idle GPU needs about this long to raise its clocks."""
MEASURED_SECONDS = 0.4
REPEATS = (5, 50)
"""Fewest and most times that an action is timed."""
SLOWEST_PRODUCT_SECONDS = 0.5
"""Beyond it a larger size is not tried: a core without bf16 instructions can be a hundred times slower than others."""

DTYPES = {"ieee-fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def matmul_rates(rank: int = 0, sizes: Sequence[int] = ()) -> list[MatmulRate]:
    """The fastest square product of every device model here, in every precision that it can train in."""
    return [_matmul_rate(devices, precision, sizes) for devices in _models() for precision in precisions(devices)]


def precisions(devices: LocalDevices) -> list[Precision]:
    """Those that 02, 03 and 04 accept on this device."""
    if devices.kind == "cpu":
        return ["ieee-fp32", "bf16"]
    ampere = torch.cuda.get_device_capability(devices.device)[0] >= 8
    tf32: list[Precision] = ["tf32"] if has_tf32(devices.device) else []
    return ["ieee-fp32", *tf32, "bf16", "fp16"] if ampere else ["ieee-fp32", "fp16"]


def _matmul_rate(devices: LocalDevices, precision: Precision, sizes: Sequence[int]) -> MatmulRate:
    MATMUL.fp32_precision = "tf32" if precision == "tf32" else "ieee"
    rates = []
    for size in sizes or MATMUL_SIZES[devices.kind]:
        # Random numbers: a GPU multiplies zeros at less power, and so at a higher clock.
        left, right = (torch.randn(size, size, device=devices.device).to(DTYPES[precision]) for _ in range(2))
        product = torch.empty_like(left)
        seconds = median_seconds(lambda: torch.mm(left, right, out=product), devices)  # noqa: B023
        rates.append(
            MatmulRate(device_model=devices.world.device_model, precision=precision, size=size, seconds=seconds)
        )
        if seconds > SLOWEST_PRODUCT_SECONDS / 8:  # the next size has eight times the work
            break
    return max(rates, key=lambda rate: rate.flops_per_second)


def memory_rates(rank: int = 0, size_bytes: int = MEMORY_BYTES) -> list[MemoryRate]:
    """How fast every device model here copies an array of `size_bytes` within its memory."""
    rates = []
    for devices in _models():
        source = torch.ones(size_bytes, dtype=torch.uint8, device=devices.device)
        target = torch.empty_like(source)
        seconds = median_seconds(lambda: target.copy_(source), devices)  # noqa: B023
        rates.append(MemoryRate(device_model=devices.world.device_model, bytes=size_bytes, seconds=seconds))
    return rates


def copies(rank: int = 0, size_bytes: int = COPY_BYTES) -> list[Copy]:
    """From the host's pinned memory to each GPU, and from each GPU to each other one."""
    gpus = range(torch.cuda.device_count())
    pairs = [(None, gpu) for gpu in gpus] + [(source, gpu) for source in gpus for gpu in gpus if source != gpu]
    return [_copy(source, destination, size_bytes) for source, destination in pairs]


def _copy(source: int | None, destination: int, size_bytes: int) -> Copy:
    pattern = torch.arange(size_bytes // 4, dtype=torch.int32)
    given = pattern.pin_memory() if source is None else pattern.cuda(source)
    received = torch.zeros(size_bytes // 4, dtype=torch.int32, device=f"cuda:{destination}")
    # torch queues a copy between two GPUs on the one that sends.
    devices = probed_device(destination if source is None else source)
    seconds = median_seconds(lambda: received.copy_(given, non_blocking=True), devices)
    torch.cuda.synchronize(destination)
    # On some boards a direct copy between GPUs delivers zeros (NVIDIA/nccl-tests#117).
    arrived = torch.equal(received.cpu(), pattern)
    return Copy(source=source, destination=destination, bytes=size_bytes, seconds=seconds if arrived else None)


def median_seconds(action: Callable[[], object], devices: LocalDevices) -> float:
    """Median seconds of `action` on the device of `devices`, after a warm-up; no wait between the repeats on a GPU."""
    started = perf_counter()
    while True:
        once = perf_counter()
        action()
        devices.synchronize()
        once = perf_counter() - once
        if perf_counter() - started > WARM_UP_SECONDS:
            break
    low, high = REPEATS
    clock = StepClock(devices)
    clock.start()
    for _ in range(max(low, min(high, int(MEASURED_SECONDS / once)))):
        action()
        clock.step_done()
    return median(clock.finish().steps)


def probed_device(number: int) -> LocalDevices:
    """For a probe's process or thread of this number: its GPU, or one CPU core. More than there are GPUs share them."""
    if not torch.cuda.is_available():
        return one_device("cpu")
    return listed_devices("cuda", str(number % torch.cuda.device_count()))


def _models() -> list[LocalDevices]:
    """One device of each model: GPUs of one model are alike, and so are cores of one kind."""
    if not torch.cuda.is_available():
        return [probed_device(0)]
    first = {torch.cuda.get_device_name(index): index for index in reversed(range(torch.cuda.device_count()))}
    return [probed_device(index) for index in sorted(first.values())]


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
    processes, waiting = [], {}
    results: dict[int, Any] = {}
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
    return [results[rank] for rank in range(ranks)]


def _child(function: Callable[[int], Any], rank: int, sender: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches it, too; the parent answers it and ends its children
    try:
        sender.send((function(rank), None))
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        sender.send((None, f"{type(error).__name__}: {reason}" if reason else type(error).__name__))
