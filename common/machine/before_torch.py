"""What comes before torch: how much of the host this process may use, and the process that workers are forked from.

Of limits by affinity and by control groups the smallest counts. To be imported before torch: its OpenMP binds the main
thread to one core where OMP_PROC_BIND, OMP_PLACES or GOMP_CPU_AFFINITY is set, and so narrows what is read here.

Sources: the kernel's Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/; proc_pid_mountinfo(5).
"""

import multiprocessing
import os
import platform
import re
import tempfile
import threading
from collections.abc import Iterator
from multiprocessing import connection, forkserver, queues
from pathlib import Path

from common.command_line.terminal import tell
from common.errors import UsageError

PROCESS, SYSTEM = Path("/proc/self"), Path("/sys/devices")
CPUS = SYSTEM / "system/cpu"
HYBRID = {"cpu_core": "P-core", "cpu_atom": "E-core", "cpu_lowpower": "LP E-core"}
"""Folders of `SYSTEM`, fastest kind first."""
SAME_KIND = 0.85
"""Speed of a core compared with the next faster one, above which both are of one kind: the best of the cores of one
kind boost some per cent higher than the others, and big and little ones are a third apart at least."""


def current_cores() -> set[int]:
    """The cores that this thread may run on now, by the kernel's numbers."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


ALLOWED = current_cores()
"""The cores of this process when it began."""


def give_cores_back() -> None:
    """Undo what the import of torch has done to the main thread. A device is one thread, which needs no binding, and
    all threads that this one starts, the devices of the emulated DataParallel, would share its only core."""
    if current_cores() < ALLOWED:
        os.sched_setaffinity(0, ALLOWED)


def cpu_cores() -> int:
    """Cores that this process may run on, or as many as it may keep busy: a container, `taskset` or Slurm may allow
    fewer than the machine has. At least 1."""
    quota = cpu_quota()
    return len(ALLOWED) if quota is None else max(1, min(len(ALLOWED), int(quota)))


def physical_cores(cores: set[int] | None = None) -> int | None:
    """Different cores among these, else among those of this process: two hardware threads of one share its arithmetic.
    None where the kernel does not tell."""
    try:
        return len({(CPUS / f"cpu{core}/topology/thread_siblings_list").read_text() for core in cores or ALLOWED})
    except OSError:
        return None


def core_kinds() -> dict[str, set[int]]:
    """The cores of this process by kind, the fastest kind first; empty on a machine whose cores are all alike.

    Intel's hybrid processors name their kinds (the kernel's Documentation/admin-guide/perf/, a `cpu_core` and a
    `cpu_atom`). Others differ in `cpu_capacity` (ARM), or in their highest clock.
    """
    named = {}
    for folder, name in HYBRID.items():
        ranges = re.findall(r"(\d+)(?:-(\d+))?", text_of(SYSTEM / folder / "cpus"))  # 0-3,8
        if cores := {core for first, last in ranges for core in range(int(first), int(last or first) + 1)}:
            named[name] = cores
    by_capacity = _by_speed("cpu_capacity", "capacity {:.0f}", 1)
    by_clock = _by_speed("cpufreq/cpuinfo_max_freq", "{:.1f} GHz", 10**6)
    kinds = next((kinds for kinds in (named, by_capacity, by_clock) if len(kinds) > 1), {})
    return {name: cores & ALLOWED for name, cores in kinds.items() if cores & ALLOWED}


def alike_cores() -> int:
    """Cores that can stand in for so many devices of one kind, the fastest."""
    return min(cpu_cores(), len(next(iter(core_kinds().values()), ALLOWED)))


def stay_on(devices: int) -> list[str]:
    """Keep this thread, and all that it starts, on as few kinds of core as have one for each device, the fastest first.
    Returns their names; where all cores are alike, none, and nothing is changed."""
    chosen: dict[str, set[int]] = {}
    for name, cores in core_kinds().items():
        if sum(map(len, chosen.values())) < devices:
            chosen[name] = cores
    if chosen:
        os.sched_setaffinity(0, set().union(*chosen.values()))
    return list(chosen)


def _by_speed(file: str, name: str, unit: int) -> dict[str, set[int]]:
    """Kinds of core between whose speeds lies a gap: a core that boosts a little higher than others is none."""
    speeds = {int(cpu.name[3:]): int(word) for cpu in CPUS.glob("cpu[0-9]*") for word in text_of(cpu / file).split()}
    kinds: dict[str, set[int]] = {}
    last = 0
    for core in sorted(speeds, key=speeds.__getitem__, reverse=True):
        if not kinds or speeds[core] < SAME_KIND * last:
            kinds[name.format(speeds[core] / unit)] = cores = set()
        cores.add(core)
        last = speeds[core]
    return kinds


def cpu_model() -> str:
    """The CPU's name as the kernel gives it, or the architecture's."""
    named = re.search(r"^model name.*?:(.*)", text_of(Path("/proc/cpuinfo")), re.MULTILINE)
    return named[1].strip() if named else platform.processor() or platform.machine()


def ram_bytes() -> int:
    """Memory of the host, or the part of it that the control groups allow."""
    host = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    files = [group / name for group in _groups("memory") for name in ("memory.max", "memory.limit_in_bytes")]
    limits = [int(word) for file in files for word in text_of(file).split() if word.isdigit()]  # `max` is no limit
    return min([host, *limits])


def cpu_quota() -> float | None:
    """Cores' worth of time that the control groups allow, 1.5 say; None where they set no limit."""
    return min(_quotas().values(), default=None)


def throttled_periods() -> int | None:
    """How many periods (of 0.1 s as a rule) the quota has stopped this process's control groups in, since they were
    made; None where there is no quota."""
    stats = [text_of(group / "cpu.stat") for group in _quotas()]
    return max((int(count) for stat in stats for count in re.findall(r"nr_throttled (\d+)", stat)), default=None)


def _quotas() -> dict[Path, float]:
    """Cores' worth of time by control group, of those that set a limit."""
    quotas = {}
    for group in _groups("cpu"):
        words = text_of(group / "cpu.max").split()
        words = words or [text_of(group / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")]
        if all(map(str.isdigit, words)) and "0" not in words:  # `max`, and -1, are no limit
            quotas[group] = int(words[0]) / int(words[1])
    return quotas


def text_of(file: Path) -> str:
    """Nothing where it cannot be read."""
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""


def _groups(controller: str) -> Iterator[Path]:
    """The folders of the control groups that this process is in, version 1 and 2, with all that lie above them."""
    own = [line.split(":", 2) for line in text_of(PROCESS / "cgroup").splitlines()]
    for mount in map(str.split, text_of(PROCESS / "mountinfo").splitlines()):
        root, point, kind, options = mount[3], Path(mount[4]), mount[mount.index("-") + 1], mount[-1].split(",")
        if kind == "cgroup2" or (kind == "cgroup" and controller in options):
            wanted = controller if kind == "cgroup" else ""  # version 2 has one tree for all controllers
            for name in (name for _, controllers, name in own if wanted in controllers.split(",")):
                # Within a container the mount may begin at the container's own group, or the name lie outside of it.
                inside = point / os.path.relpath(name, root)
                inside = inside if point in (inside, *inside.parents) and inside.is_dir() else point
                yield from (folder for folder in (inside, *inside.parents) if folder.is_relative_to(point))


def prepare_workers() -> None:
    """On a host with NVIDIA's driver: begin the import of torch for the loader's workers, beside this process's own.

    A process that holds CUDA must not fork, so that each worker would start anew and import torch, for seconds. On CPU
    cores workers are forked from this process and need nothing.
    """
    if Path("/dev/nvidiactl").exists():
        start_fork_server()


def start_fork_server() -> None:
    """Start the process that `multiprocessing` forks from, with torch imported. Harmless if called twice.

    Raises `UsageError` where the folder of temporary files has no place for its socket, whose name has a limit.
    """
    multiprocessing.set_forkserver_preload(["torch"])
    try:
        forkserver.ensure_running()
    except OSError as error:
        raise UsageError(
            f"cannot start processes from {tempfile.gettempdir()} ({error}): set TMPDIR to a short path, such as /tmp"
        ) from None


def begin_worker(worker: int) -> None:
    """For a loader's worker: it ends when the process that it works for has ended, be it by SIGKILL, and when it cannot
    hand over what it has loaded.

    torch's own watch looks at the worker's parent, which is the process that it was forked from. That one lives until
    its last child has gone, and so they would keep each other alive for ever. And what a queue cannot send (/dev/shm or
    the table of open files is full) is dropped with a traceback, while the training waits for it without end.
    """

    def end_after_parent() -> None:
        connection.wait([multiprocessing.parent_process().sentinel])
        os._exit(1)

    def end_unsent(error: Exception, unsent: object) -> None:
        tell(f"a loader worker cannot hand over a batch: {error}")
        os._exit(1)

    give_cores_back()  # of other kinds than the devices', too
    if multiprocessing.parent_process():
        threading.Thread(target=end_after_parent, daemon=True).start()
        # The standard library's hook for this, which its own executors override.
        queues.Queue._on_queue_feeder_error = staticmethod(end_unsent)  # type: ignore[attr-defined]
