"""What step 01 has to show: facts of a machine, and tables of what its parts can do.

Its own console and the page of step 05 show the same.
"""

from typing import Any

from common.content import NOTHING, Cell, Line, Table, columns
from common.messages import Message, message, message_in
from common.records import BY_NAME, AllReduce, Copy, Environment, EnvironmentRecord, Gpu, ProbeName, Probes, machine_of

MAX_GPUS = 16
Facts = list[tuple[Message, Any]]
INTERPRETER_LOCK: dict[bool | None, Message] = {
    True: message("on: one thread at a time runs Python"),
    False: message("off (free-threaded)"),
}
PROBE_NAMES: dict[ProbeName, Message] = {
    "matmul": message("matrix products"),
    "memory": message("memory"),
    "copies": message("copies to the GPUs"),
    "all_reduce": message("all-reduce"),
    "launches": message("launches"),
    "together": message("all devices at once"),
}
NEEDLESS: dict[ProbeName, Message] = {
    "copies": message("CPU cores share one memory: there is nothing to copy between them"),
    "all_reduce": message("one device has nobody to exchange gradients with"),
    "together": message("one device has no others that could slow it down"),
}
"""Why a probe means nothing on some machines."""
TIMES: dict[str, dict[str, Message]] = {
    "launches": {
        "alone_seconds": message("An addition of 8 numbers, from one thread"),
        "threads_seconds": message("… from each of {workers} threads at once"),
        "processes_seconds": message("… from each of {workers} processes at once"),
        "convolution_seconds": message("A convolution, from a thread that knows it"),
        "first_convolution_seconds": message("… from a thread that has just started"),
    },
    "together": {
        "alone_seconds": message("A training-like pass, one device by itself"),
        "together_seconds": message("… each of {workers} devices at once"),
    },
}
"""Of the host that starts small work, and of one device by itself and beside the others: by the field of each time."""


def machine_facts(environment: Environment) -> Facts:
    """Software and hardware of one machine, without what changes from run to run (load, free memory)."""
    machine, ram = machine_of(environment), environment.ram_bytes
    hashed = message("{hash} (a hash, because host names are not unique)", hash=machine)
    facts = [
        (message("host"), environment.hostname),
        (message("machine"), None if machine.startswith(BY_NAME) else hashed),
        (message("platform"), environment.platform),
        (message("CPU"), message("{model}, {cores} cores", model=environment.cpu_model, cores=environment.cpu_cores)),
        (message("RAM"), None if ram is None else message("{bytes:GiB}", bytes=ram)),
        (message("Python"), environment.python),
        (message("torch"), environment.torch),
        (message("torchvision"), environment.torchvision),
        (message("CUDA"), environment.cuda),
        (message("driver"), environment.driver),
        (message("cuDNN"), environment.cudnn),
        (message("NCCL"), environment.nccl),
        (message("environment variables"), environment.variables),
        (message_in("machine", "interpreter lock"), INTERPRETER_LOCK.get(environment.interpreter_lock)),
        *((message("GPU {index}", index=gpu.index), _gpu(gpu)) for gpu in environment.gpus),
        (message("GPU"), None if environment.gpus else message("none")),
    ]
    return [(name, value) for name, value in facts if value not in (None, "")]


def _gpu(gpu: Gpu) -> Message:
    parts: list[Any] = [gpu.name]
    if gpu.memory_total_bytes is not None:
        parts.append(message("{bytes:GiB}", bytes=gpu.memory_total_bytes))
    if gpu.pcie_generation and gpu.pcie_width:
        parts.append(message("PCIe {generation} × {width}", generation=gpu.pcie_generation, width=gpu.pcie_width))
    if gpu.nvlink_links:
        parts.append(message("{links} NVLink links", links=gpu.nvlink_links))
    return message("{facts:join , }", facts=parts)


def step_01_facts(record: EnvironmentRecord) -> Facts:
    """What only step 01 looks at, and is no requirement: whether GPUs reach each other's memory."""
    peers = [able for line, row in enumerate(record.peer_access) for column, able in enumerate(row) if line != column]
    able = message("{able} of {pairs} pairs of GPUs", able=sum(peers), pairs=len(peers))
    return [(message("peer access"), able)] if peers else []


def probe_tables(probes: Probes) -> list[Table]:
    """What was measured of single parts, but for the all-reduce."""
    launches, doubt = probes.launches, None
    if launches and not launches.is_plausible:
        doubt = message(
            "Implausible: each of {workers} launches clearly faster than one alone. Measure again when no other "
            "programs are running; nothing is concluded from these numbers.",
            workers=launches.workers,
        )
    tables = (_copies(probes.copies), _one_device(probes), _times("launches", launches, doubt),
              _times("together", probes.together))  # fmt: skip
    return [table for table in tables if table.lines]


def not_measured(probes: Probes) -> list[Message]:
    """What was not measured, and why."""
    failed = [message("{probe}: {reason}", probe=PROBE_NAMES[name], reason=why) for name, why in probes.failed.items()]
    return failed + [message("{probe}: {why}", probe=PROBE_NAMES[name], why=NEEDLESS[name])
                     for name in probes.not_applicable]  # fmt: skip


def all_reduce_table(curve: AllReduce) -> Table:
    """Time and bandwidth of every message size."""
    lines = []
    for time in curve.times:
        cells = [Cell(message("wrong sum")), NOTHING, NOTHING]
        if time.seconds is not None:
            speeds = (time.algorithm_bandwidth_bytes_per_second, time.bus_bandwidth_bytes_per_second)
            cells = [Cell(time.seconds, "ms"), *(Cell(speed, "B/s") for speed in speeds)]
        lines.append(Line([Cell(time.bytes, "GiB"), *cells]))
    shown = columns("message:probes", "time:probes", "algorithm_bandwidth:bus-bandwidth", "bus_bandwidth")
    title = message("All-reduce of {ranks} ranks by {backend}", ranks=curve.ranks, backend=curve.backend)
    hint = message("Left out, because they would have taken too long: {sizes:sizes}.", sizes=curve.left_out_bytes)
    return Table("all_reduce", shown, lines, title, hint if curve.left_out_bytes else None)


def _one_device(probes: Probes) -> Table:
    lines = []
    for product in probes.matmul:
        device = message("{model:device}", model=product.device_model)
        head = Cell(message("Matrix product, {precision}", precision=product.precision), notes=(device,))
        size = message("{size:count} × {size:count}", size=product.size)
        lines.append(Line([head, Cell(product.flops_per_second, "FLOP/s", notes=(size,))]))
    for copy in probes.memory:
        head = Cell(message("Memory, read and write"), notes=(message("{model:device}", model=copy.device_model),))
        size = message("copy of {bytes:GiB}", bytes=copy.bytes)
        lines.append(Line([head, Cell(copy.bytes_per_second, "B/s", notes=(size,))]))
    return Table("one_device", columns("part:probes", "rate:probes"), lines)


def _times(id: str, times, hint: Message | None = None) -> Table:
    lines = [
        Line([Cell(name.with_values(workers=times.workers)), Cell(getattr(times, field), "duration")])
        for field, name in (TIMES[id].items() if times else ())
    ]
    return Table(id, columns("part:probes", "time:probes"), lines, hint=hint)


def _copies(copies: list[Copy]) -> Table:
    """Bandwidth from each source (a line) to each GPU (a column)."""
    damaged = Cell(message("damaged"), notes=(message("the data arrived wrong"),))
    speeds = {(copy.source, copy.destination): copy.bytes_per_second for copy in copies}
    cells = {ends: damaged if speed is None else Cell(speed, "B/s") for ends, speed in speeds.items()}
    destinations = sorted({copy.destination for copy in copies})[:MAX_GPUS]
    lines = []
    for source in [None, *destinations] if destinations else []:
        head = Cell(message("host") if source is None else message("GPU {index}", index=source))
        lines.append(Line([head, *(cells.get((source, destination), NOTHING) for destination in destinations)]))
    to = [f"to_gpu.{destination}:probes" for destination in destinations]
    return Table("copies", columns("copy_from:probes", *to), lines)
