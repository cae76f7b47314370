"""The sampler against a fake driver; on a GPU host also against the real one."""

from __future__ import annotations

import os
import sys
import time
from types import SimpleNamespace

import pytest
import torch
from fake_pynvml import FakeGpu, FakePynvml, processes

from common.measuring.device_use import GpuSampler

ME = os.getpid()

# A thread that dies would otherwise pass for one that had nothing to tell.
pytestmark = pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")


@pytest.fixture
def gpus(monkeypatch):
    """Two fake GPUs that torch counts the other way round than the driver does: torch's 0 is the driver's 1."""
    pair = [FakeGpu(uuid="GPU-aa"), FakeGpu(uuid="GPU-bb")]
    torch_order = [SimpleNamespace(uuid="bb"), SimpleNamespace(uuid="aa")]
    monkeypatch.setitem(sys.modules, "pynvml", FakePynvml(pair))
    monkeypatch.setattr(torch.cuda, "get_device_properties", torch_order.__getitem__)
    return pair[::-1]


def sample(*indices: int, until=lambda: True, **options) -> GpuSampler:
    sampler = GpuSampler(indices, interval_seconds=0.001, **options)
    sampler.start()
    deadline = time.monotonic() + 10
    while not until() and time.monotonic() < deadline:
        time.sleep(0.001)
    sampler.stop()
    return sampler


def series(*values):
    """An answer that changes from call to call, and stays at the last value."""

    def answer(*_):
        answer.calls += 1
        return values[min(answer.calls, len(values)) - 1]

    answer.calls = 0
    return answer


def test_peaks_extremes_and_reasons_over_all_samples(gpus):
    clock = series(1900, 1500, 1980)
    gpus[0].answers = {
        "nvmlDeviceGetTemperature": series(60, 71, 65),
        "nvmlDeviceGetCurrentClocksEventReasons": series(0, 0x40, 0x4, 0x1),
        "nvmlDeviceGetComputeRunningProcesses": series(
            processes({ME: 10}), processes({ME: 50, 1: 9}), processes({ME: 20})
        ),
        "nvmlDeviceGetClockInfo": clock,
    }
    sampler = sample(0, until=lambda: clock.calls > 4)
    health = sampler.health(0)
    assert health.samples >= 4
    assert (health.sm_clock_mhz_min, health.sm_clock_mhz_max) == (1500, 1980)
    assert health.temperature_celsius_max == 71
    assert health.throttle_reasons == ["power cap", "thermal (hardware)"]
    assert health.other_processes == 1
    assert sampler.peak_process_bytes(0) == 50


def test_each_device_keeps_its_own_readings(gpus):
    gpus[0].answers["nvmlDeviceGetClockInfo"] = lambda _: 1000
    gpus[1].answers["nvmlDeviceGetClockInfo"] = lambda _: 2000
    sampler = sample(0, 1, 1)
    assert [sampler.health(index).sm_clock_mhz_median for index in (0, 1)] == [1000, 2000]


def test_a_run_shorter_than_the_interval_has_one_sample(gpus):
    sampler = GpuSampler([0], interval_seconds=60)
    sampler.start()
    sampler.stop()
    assert sampler.health(0).samples == 1


def test_other_ranks_of_the_run_are_not_strangers(gpus):
    gpus[0].answers["nvmlDeviceGetComputeRunningProcesses"] = processes({ME: 10, 101: 10, 102: 10, 103: 10})
    assert sample(0, run_pids=[101, 102]).health(0).other_processes == 1


def test_unsupported_readings_are_none(gpus):
    sampler = sample(0)
    health = sampler.health(0)
    assert health.sm_clock_mhz_min is health.sm_clock_mhz_median is health.temperature_celsius_max is None
    assert health.throttle_reasons == []
    assert health.other_processes is None
    assert sampler.peak_process_bytes(0) is None


def test_in_a_container_the_driver_lists_foreign_process_ids_and_nothing_is_claimed(gpus):
    gpus[0].answers["nvmlDeviceGetComputeRunningProcesses"] = processes({ME + 1: 10})
    sampler = sample(0)
    assert sampler.health(0).other_processes is None
    assert sampler.peak_process_bytes(0) is None


def test_without_nvml_it_has_nothing_to_tell(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    sampler = sample(0)
    assert sampler.health(0) is None
    assert sampler.peak_process_bytes(0) is None


def test_stop_ends_the_thread_and_closes_nvml(gpus):
    sampler = sample(0)
    sampler.stop()
    assert not sampler._thread.is_alive()
    assert sys.modules["pynvml"].open == 0


def test_stop_without_start_is_harmless():
    GpuSampler([0]).stop()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_the_real_gpu_reports_a_clock_and_this_process():
    held = torch.zeros(2**28, dtype=torch.uint8, device="cuda:0")
    sampler = sample(0)
    assert sampler.health(0).sm_clock_mhz_max > 0
    seen = sampler.peak_process_bytes(0)  # None in a container
    assert seen is None or seen >= held.numel()
