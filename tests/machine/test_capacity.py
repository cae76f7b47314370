"""The part of a host that a process may use, on made-up control groups of both versions and on the real host."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, environment

from common.machine import before_torch, devices
from common.machine.before_torch import cpu_cores, cpu_quota, physical_cores, ram_bytes, throttled_periods
from common.measuring.device_use import DeviceMeter

GIB = 2**30


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A host of eight cores; `host(kind, group, files)` puts this process into a control group."""
    monkeypatch.setattr(before_torch, "PROCESS", tmp_path)
    monkeypatch.setattr(before_torch, "ALLOWED", set(range(8)))

    def put(kind: str, name: str, files: dict[str, str], root: str = "/") -> None:
        point = tmp_path / "groups"
        options = "rw" if kind == "cgroup2" else "rw,cpu,cpuacct,memory"
        (tmp_path / "cgroup").write_text(f"0::{name}\n" if kind == "cgroup2" else f"4:cpu,cpuacct,memory:{name}\n")
        line = f"32 31 0:29 {root} {point} rw shared:9 - {kind} {kind} {options}\n"
        (tmp_path / "mountinfo").write_text(line)
        for file, text in files.items():
            path = point / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return put


V2 = {"job/cpu.max": "150000 100000\n", "job/memory.max": f"{GIB}\n",
      "job/cpu.stat": "usage_usec 5\nnr_periods 9\nnr_throttled 7\nthrottled_usec 5\n",
      "job/step/cpu.max": "max 100000\n", "job/step/memory.max": "max\n"}  # fmt: skip
V1 = {"job/cpu.cfs_quota_us": "150000\n", "job/cpu.cfs_period_us": "100000\n", "job/memory.limit_in_bytes": f"{GIB}\n",
      "job/cpu.stat": "nr_periods 9\nnr_throttled 7\nthrottled_time 5\n",
      "job/step/cpu.cfs_quota_us": "-1\n", "job/step/cpu.cfs_period_us": "100000\n",
      "job/step/memory.limit_in_bytes": "9223372036854771712\n"}  # fmt: skip


@pytest.mark.parametrize(("kind", "files"), [("cgroup2", V2), ("cgroup", V1)])
def test_the_smallest_limit_of_all_groups_above_counts(host, kind, files):
    host(kind, "/job/step", files)
    assert (cpu_quota(), cpu_cores(), ram_bytes(), throttled_periods()) == (1.5, 1, GIB, 7)
    world = devices.listed_devices("cpu", "0,1").world
    assert world.oversubscribed
    assert DeviceMeter(devices.one_device("cpu")).uses()[0].capacity_bytes == GIB


@pytest.mark.parametrize(("name", "root"), [("/docker/1", "/docker/1"), ("/../../elsewhere", "/"), ("/gone", "/")])
def test_within_a_container_the_limit_stands_where_its_groups_are_mounted(host, name, root):
    host("cgroup2", name, {"cpu.max": "300000 100000", "memory.max": str(GIB)}, root=root)
    assert (cpu_cores(), ram_bytes()) == (3, GIB)


def test_without_a_limit_the_host_counts(host):
    host("cgroup2", "/job", {"job/cpu.max": "max 100000", "job/memory.max": "max"})
    assert (cpu_quota(), cpu_cores(), throttled_periods()) == (None, 8, None)
    assert ram_bytes() == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(
    "files", [{"cpu.max": "0 100000\n"}, {"cpu.cfs_quota_us": "0\n", "cpu.cfs_period_us": "100000\n"}]
)
def test_a_quota_of_0_is_no_limit(host, files):
    """A record's quota is larger than 0, and None where there is none."""
    host("cgroup2" if "cpu.max" in files else "cgroup", "/", files)
    assert (cpu_quota(), cpu_cores(), throttled_periods()) == (None, 8, None)


def test_two_hardware_threads_are_one_physical_core(tmp_path, monkeypatch):
    monkeypatch.setattr(before_torch, "CPUS", tmp_path)
    monkeypatch.setattr(before_torch, "ALLOWED", {0, 1, 4, 5})
    for cpu in range(8):
        folder = tmp_path / f"cpu{cpu}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{cpu % 4},{cpu % 4 + 4}\n")
    assert physical_cores() == 2
    monkeypatch.setattr(before_torch, "CPUS", tmp_path / "none")
    assert physical_cores() is None


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
@pytest.mark.parametrize("variable", [{"OMP_PROC_BIND": "true"}, {"GOMP_CPU_AFFINITY": "0"}, {"OMP_PLACES": "cores"}])
def test_a_core_that_openmp_binds_this_process_to_is_not_all_that_it_has(variable):
    """The scripts' own order of imports; a thread that starts later has all cores, too."""
    code = (
        "import common.machine.before_torch, common.machine.devices, os, threading;"
        "from common.machine.before_torch import cpu_cores;"
        "threading.Thread(target=lambda: print(cpu_cores(), len(os.sched_getaffinity(0)))).start()"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=environment(**variable), capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(len(os.sched_getaffinity(0)))] * 2


def test_a_real_quota_is_seen_and_so_are_its_stops():
    """Version 1, where this machine lets a group be made."""
    group = Path(f"/sys/fs/cgroup/cpu/lab-test-{os.getpid()}")
    try:
        group.mkdir()
        (group / "cpu.cfs_quota_us").write_text("5000")  # less than a crowded machine would give
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    code = (
        "import os, time; from common.measuring.clocks import CoreWait; from common.machine.before_torch import *\n"
        f"open('{group}/cgroup.procs', 'w').write(str(os.getpid()))\n"
        "watch = CoreWait(); until = time.monotonic() + 30\n"
        "while not watch.losses().throttled_periods and time.monotonic() < until: sum(range(100_000))\n"
        "print(cpu_quota(), cpu_cores(), watch.losses().throttled_periods, flush=True)\n"
        "os._exit(0)"  # with so little time torch would take ten seconds to be unloaded
    )
    try:
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    finally:
        group.rmdir()
    quota, cores, periods = done.stdout.split()
    assert (quota, cores) == ("0.05", "1")
    assert int(periods) >= 1
