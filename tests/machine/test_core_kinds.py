"""Machines whose cores are of several kinds: a made-up /sys stands for them, none was ever seen."""

from __future__ import annotations

import os

import pytest

from common.machine import before_torch, devices
from common.machine.before_torch import alike_cores, core_kinds, give_cores_back, stay_on
from common.machine.environment import describe

INTEL = {"cpu_core/cpus": "0-7\n", "cpu_atom/cpus": "8-11\n"}
"""Four P-cores of two hardware threads each, four E-cores."""
CLOCKS = "cpufreq/cpuinfo_max_freq"


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """`machine(files, allowed)`: a machine with these files in /sys/devices, on which this process may use those cores.
    Returns the sets of cores that the process has put itself on, in order."""
    monkeypatch.setattr(before_torch, "SYSTEM", tmp_path)
    monkeypatch.setattr(before_torch, "CPUS", tmp_path / "system/cpu")
    monkeypatch.setattr(before_torch, "cpu_quota", lambda: None)
    monkeypatch.setattr(before_torch, "cpu_model", lambda: "Example CPU")
    monkeypatch.setattr(devices, "cpu_model", lambda: "Example CPU")

    def lay_out(files: dict[str, str], allowed=range(12)) -> list[set[int]]:
        for core in range(12):
            first = core - core % 2 if core < 8 else core
            siblings = f"{first},{first + 1}" if core < 8 else str(core)
            files = {f"system/cpu/cpu{core}/topology/thread_siblings_list": siblings} | files
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        here: list[set[int]] = []
        monkeypatch.setattr(before_torch, "ALLOWED", set(allowed))
        monkeypatch.setattr(os, "sched_setaffinity", lambda _, cores: here.append(cores))
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: here[-1] if here else set(allowed))
        return here

    return lay_out


def of_each(file: str, values: list[int]) -> dict[str, str]:
    return {f"system/cpu/cpu{core}/{file}": f"{value}\n" for core, value in enumerate(values)}


@pytest.mark.parametrize(
    ("files", "kinds"),
    [
        (INTEL, {"P-core": 8, "E-core": 4}),
        (of_each("cpu_capacity", [400] * 4 + [1024] * 2 + [800] * 6),
         {"capacity 1024": 2, "capacity 800": 6, "capacity 400": 4}),
        (of_each(CLOCKS, [5_100_000] * 6 + [3_500_000] * 6), {"5.1 GHz": 6, "3.5 GHz": 6}),
        (of_each(CLOCKS, [5_000_000, 4_800_000, 4_600_000, 4_400_000] * 3), {}),  # the best ones boost higher
        (of_each("cpu_capacity", [1024] * 12), {}),
        ({"cpu_core/cpus": "0-11"}, {}),
        ({"cpu_core/cpus": "broken"}, {}),
        ({}, {}),
    ],
)  # fmt: skip
def test_cores_are_of_the_kinds_that_the_kernel_names_or_whose_speeds_lie_apart(machine, files, kinds):
    machine(files)
    assert {name: len(cores) for name, cores in core_kinds().items()} == kinds
    assert alike_cores() == next(iter(kinds.values()), 12)


def test_of_cores_that_are_alike_none_is_taken(machine):
    here = machine({})
    assert stay_on(4) == []
    assert here == []


def test_devices_are_cores_of_the_fastest_kind_where_there_are_enough(machine):
    here = machine(INTEL)
    chosen = devices.one_device("cpu")
    assert chosen.world.device_model == "1 core of Example CPU (P-core)"
    chosen = devices.listed_devices("cpu", None)
    assert (chosen.world.devices, chosen.world.device_model) == (8, "1 core of Example CPU (P-core)")
    assert here == [set(range(8))] * 2
    assert not chosen.world.has_unlike_devices
    give_cores_back()  # as loader workers do
    assert here[-1] == set(range(12))


@pytest.mark.parametrize(("count", "oversubscribed"), [(9, False), (12, False), (13, True)])
def test_where_there_are_not_enough_all_kinds_that_run_are_named(machine, count, oversubscribed):
    here = machine(INTEL)
    world = devices.listed_devices("cpu", ",".join(map(str, range(count)))).world
    assert here == [set(range(12))]
    assert world.models == ["1 core of Example CPU (P-core)", "1 core of Example CPU (E-core)"]
    assert world.has_unlike_devices
    assert world.oversubscribed is oversubscribed


def test_ranks_count_together(machine, monkeypatch):
    machine(INTEL)
    ranks = {"LOCAL_WORLD_SIZE": 9, "WORLD_SIZE": 9, "RANK": 0, "LOCAL_RANK": 0}
    for name, value in ranks.items():
        monkeypatch.setenv(name, str(value))
    assert devices.rank_device("cpu", 0).world.has_unlike_devices


def test_a_process_that_may_use_slow_cores_alone_says_so(machine):
    here = machine(INTEL, allowed=range(8, 12))
    assert devices.listed_devices("cpu", None).world.device_model == "1 core of Example CPU (E-core)"
    assert here == [set(range(8, 12))]


def test_the_record_holds_the_kinds_and_all_cores_though_a_run_keeps_to_some(machine):
    machine(INTEL)
    devices.one_device("cpu")
    here = describe()
    assert (here.cpu_cores, here.physical_cores, here.alike_cores) == (12, 8, 8)
    kinds = [(kind.name, kind.cores, kind.physical_cores) for kind in here.core_kinds]
    assert kinds == [("P-core", 8, 4), ("E-core", 4, 4)]
