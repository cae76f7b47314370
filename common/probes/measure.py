"""All probes, one after the other. One that fails loses its own rows and says why; the rest goes on.

Here, too, those of one device, matrix products and memory, and copies: what it can do at best, one thread for a CPU
core, and what a pair of GPUs can carry. Each runs in a process of its own, and returns parts of the record.
"""

from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from time import perf_counter

import torch

from common.machine.devices import LocalDevices
from common.machine.precision import MATMUL, precisions
from common.measuring.clocks import StepClock
from common.probes import processes, together
from common.probes.processes import probed_device, run_in_processes
from common.records import Copy, MatmulRate, MemoryRate, Precision, ProbeName, Probes
from common.step_01 import NEEDLESS

LIMIT_SECONDS = 60.0
"""A probe that takes longer hangs, and is ended."""

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

Action = Callable[[], object]


def plan() -> tuple[dict[ProbeName, Action], dict[ProbeName, str]]:
    """The probes that mean something on this machine, and for the others why they do not."""
    ranks = processes.ranks_here()
    actions: dict[ProbeName, Action] = {
        "matmul": lambda: run_in_processes(matmul_rates, 1, LIMIT_SECONDS)[0],
        "memory": lambda: run_in_processes(memory_rates, 1, LIMIT_SECONDS)[0],
        "copies": lambda: run_in_processes(copies, 1, LIMIT_SECONDS)[0],
        "all_reduce": partial(processes.measure_all_reduce, ranks, LIMIT_SECONDS),
        "launches": partial(together.measure_launches, LIMIT_SECONDS),
        "together": partial(together.measure_together, ranks, LIMIT_SECONDS),
    }
    means_something = {"copies": torch.cuda.is_available(), "all_reduce": ranks > 1, "together": ranks > 1}
    not_applicable = {name: NEEDLESS[name].text for name in actions if not means_something.get(name, True)}
    return {name: action for name, action in actions.items() if name not in not_applicable}, not_applicable


def measure(
    announce: Callable[[ProbeName], object], actions: dict[ProbeName, Action], not_applicable: dict[ProbeName, str]
) -> Probes:
    """Run the probes of a `plan`, each announced as it starts. Nothing that one raises comes out, nor Ctrl-C."""
    started = perf_counter()
    results: dict[ProbeName, object] = {}
    failed: dict[ProbeName, str] = {}
    try:
        for name, action in actions.items():
            announce(name)
            try:
                results[name] = action()
            except Exception as error:
                failed[name] = str(error) or type(error).__name__
    except KeyboardInterrupt:  # Ctrl-C ends the measurements, and what there is still gets into the record
        failed |= {name: "interrupted" for name in actions if name not in results | failed}
    seconds = perf_counter() - started
    return Probes.model_validate({"seconds": seconds, **results, "not_applicable": not_applicable, "failed": failed})


def matmul_rates(rank: int = 0, sizes: Sequence[int] = ()) -> list[MatmulRate]:
    """The fastest square product of every device model here, in every precision that it can train in."""
    return [_matmul_rate(one, precision, sizes) for one in _models() for precision in precisions(one.device)]


def _matmul_rate(devices: LocalDevices, precision: Precision, sizes: Sequence[int]) -> MatmulRate:
    MATMUL.fp32_precision = "tf32" if precision == "tf32" else "ieee"
    model, rates = devices.world.device_model, []
    for size in sizes or MATMUL_SIZES[devices.kind]:
        # Random numbers: a GPU multiplies zeros at less power, and so at a higher clock.
        left, right = (torch.randn(size, size, device=devices.device).to(DTYPES[precision]) for _ in range(2))
        product = torch.empty_like(left)
        seconds = median_seconds(lambda: torch.mm(left, right, out=product), devices)  # noqa: B023
        rates.append(MatmulRate(device_model=model, precision=precision, size=size, seconds=seconds))
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


def copies(rank: int = 0) -> list[Copy]:
    """From the host's pinned memory to each GPU, and from each GPU to each other one."""
    gpus = range(torch.cuda.device_count())
    pairs = [(None, gpu) for gpu in gpus] + [(source, gpu) for source in gpus for gpu in gpus if source != gpu]
    pattern = torch.arange(COPY_BYTES // 4, dtype=torch.int32)
    results = []
    for source, destination in pairs:
        given = pattern.pin_memory() if source is None else pattern.cuda(source)
        received = torch.zeros_like(pattern, device=f"cuda:{destination}")
        # torch queues a copy between two GPUs on the one that sends.
        devices = probed_device(destination if source is None else source)
        measured = median_seconds(lambda: received.copy_(given, non_blocking=True), devices)  # noqa: B023
        torch.cuda.synchronize(destination)
        # On some boards a direct copy between GPUs delivers zeros (NVIDIA/nccl-tests#117).
        seconds = measured if torch.equal(received.cpu(), pattern) else None
        results.append(Copy(source=source, destination=destination, bytes=COPY_BYTES, seconds=seconds))
    return results


def median_seconds(action: Callable[[], object], devices: LocalDevices) -> float:
    """Median seconds of `action` on the device of `devices`, after a warm-up; no wait between the repeats on a GPU."""
    once, warm_until = 0.0, perf_counter() + WARM_UP_SECONDS
    while not once or perf_counter() < warm_until:
        began = perf_counter()
        action()
        devices.synchronize()
        once = perf_counter() - began
    low, high = REPEATS
    clock = StepClock(devices)
    for _ in clock.time_steps(range(max(low, min(high, int(MEASURED_SECONDS / once))))):
        action()
    return median(clock.times.steps)


def _models() -> list[LocalDevices]:
    """One device of each model: GPUs of one model are alike, and so are cores of one kind."""
    if not torch.cuda.is_available():
        return [probed_device(0)]
    first = {torch.cuda.get_device_name(index): index for index in reversed(range(torch.cuda.device_count()))}
    return [probed_device(index) for index in sorted(first.values())]
