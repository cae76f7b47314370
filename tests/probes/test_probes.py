"""The probes of step 01: formulas with plain numbers, small measurements, and what happens when one goes wrong."""

from __future__ import annotations

import io
import re
import threading
import time
from functools import partial
from tempfile import TemporaryDirectory

import pytest
import torch
from conftest import planted, run_script
from rich.console import Console
from workers import exchange_faults, shared_work

from common.console import machine_tables as tables
from common.probes import measure, processes, together
from common.probes.processes import ProbeError, measure_all_reduce, probed_device, ranks_here, run_in_processes
from common.records import (
    AllReduce,
    AllReduceTime,
    Copy,
    EnvironmentRecord,
    LaunchTimes,
    MatmulRate,
    MemoryRate,
    Probes,
)
from common.sentences import Sentences

KIB = 2**10
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


def shown(probes: Probes) -> str:
    console = Console(file=io.StringIO(), width=120)
    tables.show_probes(console, probes, Sentences("en"))
    return console.file.getvalue()


def fails(rank: int) -> None:
    raise ValueError(f"rank {rank} cannot\nand this line is too much")


def hangs(rank: int) -> None:
    time.sleep(100)


def doubles(rank: int) -> int:
    return 2 * rank


# ------------------------------------------------------------------------------------------------ formulas


def test_rates_follow_from_size_and_seconds():
    assert MatmulRate(device_model="d", precision="bf16", size=1000, seconds=0.5).flops_per_second == 4e9
    assert MemoryRate(device_model="d", bytes=300, seconds=2).bytes_per_second == 300  # read and written
    assert Copy(source=None, destination=0, bytes=300, seconds=2).bytes_per_second == 150


@pytest.mark.parametrize(("ranks", "bus"), [(2, 100), (4, 150), (8, 175)])
def test_bandwidths_are_those_of_nccl_tests(ranks, bus):
    measured = AllReduceTime(bytes=200, ranks=ranks, seconds=2)
    assert measured.algorithm_bandwidth_bytes_per_second == 100
    assert measured.bus_bandwidth_bytes_per_second == bus


def test_what_arrived_wrong_has_no_speed():
    wrong = AllReduceTime(bytes=200, ranks=2, seconds=None)
    assert wrong.algorithm_bandwidth_bytes_per_second is wrong.bus_bandwidth_bytes_per_second is None
    assert Copy(source=0, destination=1, bytes=300, seconds=None).bytes_per_second is None


# ------------------------------------------------------------------------------------------------ one device


@pytest.mark.parametrize(("together", "is_implausible"), [(1.6e-6, True), (4.5e-6, False)])
def test_launches_that_cannot_be_are_called_implausible_and_explained_by_nothing(together, is_implausible):
    """One alone takes 5 µs; each of two at once cannot be three times as fast."""
    times = LaunchTimes(workers=2, alone_seconds=5e-6, threads_seconds=9e-6, processes_seconds=together,
                        convolution_seconds=1e-5, first_convolution_seconds=2e-3)  # fmt: skip
    text = " ".join(shown(Probes(seconds=1.0, launches=times)).split())
    assert ("Implausible: each of 2 launches clearly faster than one alone" in text) is is_implausible
    assert ("why threads" in text) is not is_implausible


def test_a_core_multiplies_matrices_in_both_precisions():
    rates = measure.matmul_rates(sizes=(64, 128))
    assert [rate.precision for rate in rates] == ["ieee-fp32", "bf16"]
    for rate in rates:
        assert rate.size in (64, 128)
        assert rate.device_model.startswith("1 core of ")
        assert 1e7 < rate.flops_per_second < 1e13  # 1.1e12 seen in bf16 on a core with matrix instructions (AMX)


def test_a_slow_product_ends_the_search_for_a_faster_size(monkeypatch):
    tried = []
    monkeypatch.setattr(measure, "median_seconds", lambda action, place: tried.append(1) or 1.0)
    rates = measure.matmul_rates(sizes=(8, 16, 32))
    assert [rate.size for rate in rates] == [8, 8]
    assert len(tried) == 2


def test_memory_is_read_and_written():
    [rate] = measure.memory_rates(size_bytes=2**22)
    assert rate.bytes == 2**22
    assert 1e8 < rate.bytes_per_second < 1e12


def test_the_median_forgets_one_slow_repeat(monkeypatch):
    monkeypatch.setattr(measure, "WARM_UP_SECONDS", 0.0)
    monkeypatch.setattr(measure, "REPEATS", (5, 5))
    naps = iter([0.01, 0.01, 0.2, 0.01, 0.01, 0.01])
    assert 0.01 <= measure.median_seconds(lambda: time.sleep(next(naps)), probed_device(0)) < 0.1


# ------------------------------------------------------------------------------------------------ the exchange


def test_two_cores_exchange_messages():
    sizes = (4 * KIB, 64 * KIB, 1024 * KIB)
    measured = measure_all_reduce(2, 60, sizes)
    assert (measured.backend, measured.ranks, measured.left_out_bytes) == ("gloo", 2, [])
    assert [each.bytes for each in measured.times] == list(sizes)
    for each in measured.times:
        assert 1e-6 < each.seconds < 1
        assert each.algorithm_bandwidth_bytes_per_second == each.bytes / each.seconds


def test_ranks_meet_in_a_folder_of_any_name_and_leave_nothing(monkeypatch, tmp_path):
    folder = tmp_path / "job#1?"
    folder.mkdir()
    monkeypatch.setattr(processes, "TemporaryDirectory", partial(TemporaryDirectory, dir=folder))
    assert measure_all_reduce(2, 60, (4 * KIB,)).times
    assert list(tmp_path.rglob("*")) == [folder]


def test_gpus_that_the_driver_is_too_old_for_take_no_part(monkeypatch):
    """torch counts them by NVML, and cannot use them."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 16)
    assert probed_device(1).kind == "cpu"
    assert ranks_here() <= 8


def test_sizes_beyond_the_budget_are_named():
    measured = measure_all_reduce(2, 60, (4 * KIB, 8 * KIB, 16 * KIB), budget_seconds=0.0)
    assert [each.bytes for each in measured.times] == [4 * KIB]
    assert measured.left_out_bytes == [8 * KIB, 16 * KIB]
    assert "Left out, because they would have taken too long: 8.00 KiB, 16.0 KiB." in shown(
        Probes(seconds=1, all_reduce=measured)
    )


def test_a_wrong_sum_is_shown_and_is_no_number():
    measured = measure_all_reduce(2, 60, (4 * KIB, 8 * KIB), exchange=exchange_faults.forgets_one_number)
    right, wrong = measured.times
    assert right.seconds > 0
    assert wrong.seconds is None
    [line] = [line for line in shown(Probes(seconds=1, all_reduce=measured)).splitlines() if "8.00 KiB" in line]
    assert line.split() == ["8.00", "KiB", "wrong", "sum", "–", "–"]


def test_a_rank_that_dies_ends_the_exchange_at_once():
    started = time.perf_counter()
    # Either the pipe of rank 1 ends first, or rank 0 is told by gloo that the other is gone.
    with pytest.raises(ProbeError, match=r"process 1 died \(exit code 7\)|RuntimeError"):
        measure_all_reduce(2, 60, (4 * KIB,), exchange=exchange_faults.kills_rank_1)
    assert time.perf_counter() - started < 40


# ------------------------------------------------------------------------------------------------ processes


def test_results_come_in_the_order_of_the_ranks():
    assert run_in_processes(doubles, 2, 60) == [0, 2]


def test_an_exception_is_told_in_one_line():
    with pytest.raises(ProbeError, match=r"^ValueError: rank 0 cannot$"):
        run_in_processes(fails, 1, 60)


def test_a_process_that_hangs_is_ended():
    started = time.perf_counter()
    with pytest.raises(ProbeError, match="not finished after 1 s"):
        run_in_processes(hangs, 1, 1)
    assert time.perf_counter() - started < 20


# ------------------------------------------------------------------------------------------------ all of them


def test_a_probe_that_fails_loses_only_its_own_rows():
    memory = [MemoryRate(device_model="d", bytes=1, seconds=1)]
    exchange = AllReduce(backend="gloo", ranks=2, times=[])
    actions = {
        "matmul": partial(run_in_processes, fails, 1, 60),
        "memory": lambda: memory,
        "all_reduce": lambda: exchange,
    }
    announced = []
    probes = measure.measure(announced.append, actions, {"copies": "no GPU"})
    assert probes.matmul == []
    assert probes.memory == memory
    assert probes.all_reduce == exchange
    assert probes.failed == {"matmul": "ValueError: rank 0 cannot"}
    assert announced == ["matmul", "memory", "all_reduce"]
    assert "matrix products: ValueError: rank 0 cannot" in shown(probes)
    assert "copies to the GPUs: CPU cores share one memory" in shown(probes)


def test_ctrl_c_ends_the_measurements_and_keeps_what_there_is():
    def interrupted() -> None:
        raise KeyboardInterrupt

    memory = [MemoryRate(device_model="d", bytes=1, seconds=1)]
    actions = {"memory": lambda: memory, "matmul": interrupted, "all_reduce": lambda: pytest.fail("went on")}
    probes = measure.measure(lambda name: None, actions, {})
    assert probes.memory == memory
    assert probes.failed == {"matmul": "interrupted", "all_reduce": "interrupted"}


def test_one_core_has_nobody_to_exchange_with(monkeypatch):
    monkeypatch.setattr(measure.processes, "ranks_here", lambda: 1)
    actions, not_applicable = measure.plan()
    for name in ("all_reduce", "together"):
        assert name not in actions
        assert "one device" in not_applicable[name]


def test_damaged_copies_are_shown():
    copies = [
        Copy(source=None, destination=0, bytes=8, seconds=1e-9),
        Copy(source=None, destination=1, bytes=8, seconds=1e-9),
        Copy(source=0, destination=1, bytes=8, seconds=None),
        Copy(source=1, destination=0, bytes=8, seconds=2e-9),
    ]
    rows = [line.split() for line in shown(Probes(seconds=1, copies=copies)).splitlines()]
    assert ["host", "8.00", "GB/s", "8.00", "GB/s"] in rows
    assert ["GPU", "0", "–", "damaged"] in rows
    assert ["GPU", "1", "4.00", "GB/s", "–"] in rows


def test_step_01_measures_and_records(tmp_path):
    """All that it measures; small products and arrays, exchanges up to those of a second, and small images for what
    cores cost each other."""
    code = """
from functools import partial
from common.probes import measure, processes, together
measure.MATMUL_SIZES = {"cpu": (256,)}
measure.memory_rates.__defaults__ = 0, 2**22
processes.measure_all_reduce = partial(processes.measure_all_reduce, budget_seconds=1)
together.SAMPLES = {"cpu": (2, 14)}  # its processes import this script, too
"""
    results = tmp_path / "results"
    script = planted(tmp_path, "01_environment_check.py", code)
    process = run_script(script, "--results-dir", results)
    assert (process.returncode, process.stderr) == (0, "")
    [path] = results.iterdir()
    probes = EnvironmentRecord.model_validate_json(path.read_text()).probes
    assert probes.failed == {}
    assert "copies" in probes.not_applicable
    assert [(rate.precision, rate.size) for rate in probes.matmul] == [("ieee-fp32", 256), ("bf16", 256)]
    assert [rate.bytes for rate in probes.memory] == [2**22]
    if probes.all_reduce:
        assert all(each.seconds for each in probes.all_reduce.times)
    assert "GFLOP/s" in process.stdout
    assert f"next: python 02_baseline_single_gpu.py --results-dir {results}\n" in process.stdout


@pytest.mark.gpu
@needs_gpu
def test_gpus_are_measured(tmp_path):
    probes = measure.measure(lambda name: None, *measure.plan())
    gpus = torch.cuda.device_count()
    assert probes.failed == {}
    assert {"ieee-fp32", "fp16"} <= {rate.precision for rate in probes.matmul}
    assert all(1e11 < rate.flops_per_second < 1e16 for rate in probes.matmul)
    assert all(1e10 < rate.bytes_per_second < 1e14 for rate in probes.memory)
    assert len(probes.copies) == gpus**2  # from the host, and from each other one
    assert all(copy.bytes_per_second for copy in probes.copies)
    assert (probes.all_reduce is None) == (gpus == 1)
    assert probes.seconds < 60


def test_launches_are_timed_in_threads_and_in_processes():
    measured = together.measure_launches(100)
    assert measured.workers >= 2
    assert 0 < measured.alone_seconds < 0.01
    assert measured.processes_seconds < 0.1
    assert measured.first_convolution_seconds < 1
    assert "threads at once" in shown(Probes(seconds=1, launches=measured))


def test_a_new_thread_has_ended_before_the_next_one_is_timed(monkeypatch):
    events = []

    class Noted(together.ThreadPoolExecutor):
        def submit(self, *what):
            events.append("begun")
            return super().submit(*what)

        def shutdown(self, *how, **more):
            super().shutdown(*how, **more)
            events.append("ended")

    monkeypatch.setattr(together, "ThreadPoolExecutor", Noted)
    together._convolution_seconds()
    assert events == ["begun", "ended"] * together.NEW_THREADS


def test_devices_that_share_something_take_longer_together(tmp_path):
    """A pass that holds a lock, which all processes share, for most of its time."""
    measured = together.measure_together(2, 100, partial(shared_work.under_one_lock, str(tmp_path / "lock")))
    assert measured.workers == 2
    assert measured.slowdown > 1.3
    assert "running together, each is" in shown(Probes(seconds=1, together=measured))


def test_the_lock_shows_where_a_launch_holds_it(monkeypatch):
    """An addition that only one thread at a time can do: four take turns at it, for 20 ms in place of 6."""
    lock = threading.Lock()

    def slow(self, other):
        with lock:
            time.sleep(0.005)
        time.sleep(0.001)  # or nobody else would get it

    monkeypatch.setattr(torch.Tensor, "add_", slow)
    monkeypatch.setattr(together, "LAUNCHES", 10)
    monkeypatch.setattr(together, "CHUNKS", 3)
    assert together._in_threads(4) > 1.5 * together._launch_seconds(0)


def test_five_sizes_of_an_exchange_stand_for_all_and_a_wrong_sum_is_never_left_out():
    times = [AllReduceTime(bytes=4096 * 2**power, ranks=2, seconds=0.001) for power in range(17)]
    times[5] = AllReduceTime(bytes=4096 * 2**5, ranks=2, seconds=None)
    text = shown(Probes(seconds=1, all_reduce=AllReduce(backend="gloo", ranks=2, times=times)))
    for size in ("4.00 KiB", "64.0 KiB", "1.00 MiB", "16.0 MiB", "256 MiB", "128 KiB"):
        assert size in text
    assert len(re.findall(r"^ +[0-9.]+ [KM]iB ", text, flags=re.MULTILINE)) == 6
    assert "11 more rows on the page" in text
