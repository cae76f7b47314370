"""What step 01 has to show: facts of a machine, and tables of what its parts can do.

Its own console and the page of step 05 show the same.
"""

from __future__ import annotations

from common.content.messages import Message, message
from common.content.sections import NOTHING, Cell, Line, Table, columns
from common.records import BY_NAME, AllReduce, Copy, Environment, EnvironmentRecord, Probes, machine_of

MAX_GPUS = 16
Facts = list[tuple[Message, Message]]


def _fact(name: str, id: str = "", **values) -> tuple[Message, Message]:
    return message(f"machine.{name}"), message(f"machine_value.{id or name}", **values)


def machine_facts(environment: Environment) -> Facts:
    """Software and hardware of one machine, without what changes from run to run (load, free memory)."""
    machine = machine_of(environment)
    facts = [_fact("hostname", "plain", value=environment.hostname)]
    if not machine.startswith(BY_NAME):
        facts.append(_fact("machine", hash=machine))
    facts.append(_fact("platform", "plain", value=environment.platform))
    facts.append(_fact("cpu", model=environment.cpu_model, cores=environment.cpu_cores))
    if environment.ram_bytes is not None:
        facts.append(_fact("ram", bytes=environment.ram_bytes))
    for name in ("python", "torch", "torchvision", "cuda", "driver", "cudnn", "nccl", "variables"):
        if value := getattr(environment, name):
            facts.append(_fact(name, "plain", value=value))
    if environment.interpreter_lock is not None:
        facts.append(_fact("interpreter_lock", "lock_on" if environment.interpreter_lock else "lock_off"))
    for gpu in environment.gpus:
        parts = [message("gpu.name", name=gpu.name)]
        if gpu.memory_total_bytes is not None:
            parts.append(message("gpu.memory", bytes=gpu.memory_total_bytes))
        if gpu.pcie_generation and gpu.pcie_width:
            parts.append(message("gpu.pcie", generation=gpu.pcie_generation, width=gpu.pcie_width))
        if gpu.nvlink_links:
            parts.append(message("gpu.nvlink", links=gpu.nvlink_links))
        facts.append((message("machine.gpu", index=gpu.index), message("machine_value.gpu", parts=parts)))
    return facts if environment.gpus else [*facts, _fact("gpus", "no_gpus")]


def step_01_facts(record: EnvironmentRecord) -> Facts:
    """What only step 01 looks at."""
    peers = [able for line, row in enumerate(record.peer_access) for column, able in enumerate(row) if line != column]
    facts = [_fact("backends", names=record.backends)] if record.backends else []
    if record.shared_memory_bytes is not None:
        facts.append(_fact("shared_memory", bytes=record.shared_memory_bytes))
    if record.open_files_limit is not None:
        facts.append(_fact("open_files", limit=record.open_files_limit))
    if record.rendezvous_port_free is not None:
        facts.append(_fact("port", "port_free" if record.rendezvous_port_free else "port_taken"))
    if peers:
        facts.append(_fact("peers", able=sum(peers), pairs=len(peers)))
    return facts


def probe_tables(probes: Probes) -> list[Table]:
    """What was measured of single parts, but for the all-reduce."""
    tables = (_copies(probes.copies), _one_device(probes), _launches(probes), _together(probes))
    return [table for table in tables if table.lines]


def not_measured(probes: Probes) -> list[Message]:
    """What was not measured, and why."""
    return [
        *(message("probe.missing", probe=message(f"probe.{name}"), reason=reason)
          for name, reason in probes.failed.items()),
        *(message("probe.needless", probe=message(f"probe.{name}"), reason=message(f"not_applicable.{name}"))
          for name in probes.not_applicable),
    ]  # fmt: skip


def all_reduce_table(curve: AllReduce) -> Table:
    """Time and bandwidth of every message size."""
    lines = []
    for time in curve.times:
        speeds = (time.algorithm_bandwidth_bytes_per_second, time.bus_bandwidth_bytes_per_second)
        cells = [Cell(message("cell.wrong_sum")), NOTHING, NOTHING]
        if time.seconds is not None:
            cells = [Cell(time.seconds, "ms"), *(Cell(speed, "B/s") for speed in speeds)]
        lines.append(Line([Cell(time.bytes, "GiB"), *cells]))
    shown = columns("message:probes", "time:probes", "algorithm_bandwidth:bus-bandwidth", "bus_bandwidth")
    title = message("table.all_reduce", ranks=curve.ranks, backend=curve.backend)
    hint = message("hint.left_out", sizes=curve.left_out_bytes) if curve.left_out_bytes else None
    return Table("all_reduce", shown, lines, title, hint)


def _one_device(probes: Probes) -> Table:
    lines = []
    for product in probes.matmul:
        device = message("note.device", model=product.device_model)
        head = Cell(message("name.matmul", precision=product.precision), notes=(device,))
        size = message("note.matrix", size=product.size)
        lines.append(Line([head, Cell(product.flops_per_second, "FLOP/s", notes=(size,))]))
    for copy in probes.memory:
        head = Cell(message("name.memory"), notes=(message("note.device", model=copy.device_model),))
        size = message("note.copy_of", bytes=copy.bytes)
        lines.append(Line([head, Cell(copy.bytes_per_second, "B/s", notes=(size,))]))
    return Table("one_device", columns("part:probes", "rate:probes"), lines)


def _times(id: str, times, hint: Message | None = None, **seconds: str) -> Table:
    """A line for each of the times, by its name and its field."""
    lines = [
        Line([Cell(message(f"name.{name}", workers=times.workers)), Cell(getattr(times, field), "duration")])
        for name, field in (seconds.items() if times else ())
    ]
    return Table(id, columns("part:probes", "time:probes"), lines, hint=hint)


def _launches(probes: Probes) -> Table:
    """What the host needs to start small work."""
    times = probes.launches
    doubt = message("hint.implausible_launches", workers=times.workers) if times and not times.is_plausible else None
    return _times("launches", times, doubt, one_thread="alone_seconds", threads="threads_seconds",
                  processes="processes_seconds", convolution="convolution_seconds",
                  first_convolution="first_convolution_seconds")  # fmt: skip


def _together(probes: Probes) -> Table:
    """One device by itself, and beside the others."""
    return _times("together", probes.together, pass_alone="alone_seconds", pass_together="together_seconds")


def _copies(copies: list[Copy]) -> Table:
    """Bandwidth from each source (a line) to each GPU (a column)."""
    by_ends = {(copy.source, copy.destination): copy for copy in copies}
    destinations = sorted({copy.destination for copy in copies})[:MAX_GPUS]
    sources = [None, *destinations] if destinations else []
    lines = []
    for source in sources:
        head = Cell(message("name.host") if source is None else message("name.gpu", index=source))
        lines.append(Line([head, *(_copy(by_ends.get((source, destination))) for destination in destinations)]))
    to = [f"to_gpu.{destination}:probes" for destination in destinations]
    return Table("copies", columns("copy_from:probes", *to), lines)


def _copy(copy: Copy | None) -> Cell:
    if copy is None:
        return NOTHING
    if copy.bytes_per_second is None:
        return Cell(message("cell.damaged"), notes=(message("note.arrived_wrong"),))
    return Cell(copy.bytes_per_second, "B/s")
