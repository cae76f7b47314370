"""NVML readings against a fake driver; on a GPU host also against the real one."""

from __future__ import annotations

import sys
from contextlib import suppress
from types import SimpleNamespace

import pynvml
import pytest
import torch
from fake_pynvml import FakeGpu, FakePynvml, error, processes

from common.machine.nvml import NvmlGpu, open_nvml

READINGS = [name for name in vars(NvmlGpu) if not name.startswith("_")]


@pytest.fixture
def driver(monkeypatch):
    """Install a fake pynvml: `driver(gpu, ...)`."""

    def install(*gpus: FakeGpu, **options) -> FakePynvml:
        fake = FakePynvml(list(gpus), **options)
        monkeypatch.setitem(sys.modules, "pynvml", fake)
        return fake

    return install


def read(reading: str):
    with open_nvml() as nvml:
        return getattr(nvml.gpus()[0], reading)()


def test_without_pynvml_there_are_no_gpus_to_ask(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)  # what makes `import pynvml` fail
    with open_nvml() as nvml:
        assert (nvml.driver(), nvml.gpus()) == (None, [])


def test_without_a_driver_there_are_no_gpus_to_ask(driver):
    driver(init_error=error("LIBRARY_NOT_FOUND"))
    with open_nvml() as nvml:
        assert (nvml.driver(), nvml.gpus()) == (None, [])


def test_the_library_is_closed_whatever_happens_meanwhile(driver):
    fake = driver(FakeGpu())

    with suppress(KeyError), open_nvml():
        assert fake.open == 1
        raise KeyError("meanwhile")
    assert fake.open == 0


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("code", ["NOT_SUPPORTED", "GPU_IS_LOST", "FUNCTION_NOT_FOUND"])
def test_a_reading_that_the_gpu_refuses_is_none(driver, reading, code):
    names = [name for name in dir(pynvml) if name.startswith("nvmlDeviceGet")]
    driver(FakeGpu(answers={name: error(code) for name in names}))
    assert read(reading) is None


@pytest.mark.parametrize(
    ("reading", "function", "answer", "value"),
    [
        ("name", "nvmlDeviceGetName", "NVIDIA H200", "NVIDIA H200"),
        ("uuid", "nvmlDeviceGetUUID", "GPU-1", "GPU-1"),
        ("free_bytes", "nvmlDeviceGetMemoryInfo", SimpleNamespace(total=9, used=4, free=5), 5),
        ("pcie_generation", "nvmlDeviceGetMaxPcieLinkGeneration", 5, 5),
        ("pcie_width", "nvmlDeviceGetCurrPcieLinkWidth", 8, 8),
        ("sm_clock_mhz", "nvmlDeviceGetClockInfo", {pynvml.NVML_CLOCK_SM: 1980}.get, 1980),
        ("temperature_celsius", "nvmlDeviceGetTemperature", {pynvml.NVML_TEMPERATURE_GPU: 61}.get, 61),
        ("temperature_celsius", "nvmlDeviceGetTemperatureV", {pynvml.NVML_TEMPERATURE_GPU: 61}.get, 61),
        ("energy_joules", "nvmlDeviceGetTotalEnergyConsumption", 1_500, 1.5),
        ("throttle_reasons", "nvmlDeviceGetCurrentClocksEventReasons", pynvml.nvmlClocksEventReasonGpuIdle, []),
        (
            "throttle_reasons",
            "nvmlDeviceGetCurrentClocksThrottleReasons",
            pynvml.nvmlClocksEventReasonSwPowerCap
            | pynvml.nvmlClocksEventReasonHwThermalSlowdown
            | pynvml.nvmlClocksEventReasonGpuIdle,
            ["power cap", "thermal (hardware)"],
        ),
        ("process_bytes", "nvmlDeviceGetComputeRunningProcesses", [], {}),
        ("process_bytes", "nvmlDeviceGetComputeRunningProcesses", processes({7: 70, 8: None}), {7: 70, 8: None}),
    ],
)
def test_readings(driver, reading, function, answer, value):
    driver(FakeGpu(answers={function: answer}))
    assert read(reading) == value


def test_an_older_driver_is_asked_for_processes_by_the_older_name(driver):
    # What pynvml raises when the library lacks version 3 of a call is not an NVMLError.
    answers = {
        "nvmlDeviceGetComputeRunningProcesses": pynvml.NVMLLibraryMismatchError("use _v2"),
        "nvmlDeviceGetComputeRunningProcesses_v2": processes({7: 70}),
    }
    driver(FakeGpu(answers=answers))
    assert read("process_bytes") == {7: 70}


def test_nvlink_counts_the_active_links_up_to_the_last_of_this_gpu(driver):
    def state(link: int) -> int:
        if link >= 6:
            raise error("INVALID_ARGUMENT")
        return 0 if link == 2 else 1

    driver(FakeGpu(answers={"nvmlDeviceGetNvLinkState": state}))
    assert read("nvlink_links") == 5


TWO = (
    FakeGpu(uuid="GPU-aa", pci="00000000:01:00.0", answers={"nvmlDeviceGetName": "first"}),
    FakeGpu(uuid="GPU-bb", pci="00000000:C1:00.0", answers={"nvmlDeviceGetName": "second"}),
    FakeGpu(uuid="MIG-cc", pci="none", answers={"nvmlDeviceGetName": "slice"}),
)


@pytest.mark.parametrize(
    ("properties", "name"),
    [
        ({"uuid": "bb"}, "second"),
        ({"uuid": "cc"}, "slice"),
        ({"pci_domain_id": 0, "pci_bus_id": 0xC1, "pci_device_id": 0}, "second"),
        ({"uuid": "unknown", "pci_domain_id": 0, "pci_bus_id": 1, "pci_device_id": 0}, "first"),
    ],
)
def test_a_gpu_of_torch_is_found_by_uuid_or_address_and_not_by_its_number(driver, properties, name):
    driver(*TWO)
    with open_nvml() as nvml:
        assert nvml.gpu_of_torch(SimpleNamespace(**properties)).name() == name


def test_a_gpu_that_the_driver_does_not_know_is_none(driver):
    driver(*TWO)
    with open_nvml() as nvml:
        assert nvml.gpu_of_torch(SimpleNamespace(uuid="unknown")) is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_the_real_driver_knows_every_gpu_of_torch_by_the_same_name():
    with open_nvml() as nvml:
        for index in range(torch.cuda.device_count()):
            gpu = nvml.gpu_of_torch(torch.cuda.get_device_properties(index))
            assert gpu.name() == torch.cuda.get_device_name(index)
            assert gpu.sm_clock_mhz() > 0
            assert 0 < gpu.free_bytes() <= torch.cuda.get_device_properties(index).total_memory * 1.1
