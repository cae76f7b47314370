"""What the host is found to be: the real one, and one with GPUs that exist in memory alone."""

from __future__ import annotations

import os
import resource
import socket
import sys
from importlib import metadata, util
from types import SimpleNamespace

import pytest
import torch
from fake_pynvml import FakeGpu, FakePynvml, processes

from common.machine import environment
from common.machine.devices import listed_devices
from common.machine.environment import describe, look_around, open_files_limit, port_is_free
from common.machine.precision import default_precision


@pytest.fixture
def two_gpus(monkeypatch):
    """torch sees two GPUs in one order, the driver three in another; nobody has a real one."""

    def gpu(number: int, free: int, pids: dict) -> FakeGpu:
        memory = SimpleNamespace(total=24 * 2**30, free=free, used=0)
        answers = {
            "nvmlDeviceGetName": "Fake",
            "nvmlDeviceGetUUID": f"GPU-{number}",
            "nvmlDeviceGetCudaComputeCapability": (9, number),
            "nvmlDeviceGetMemoryInfo": memory,
            "nvmlDeviceGetComputeRunningProcesses": processes(pids),
        }
        return FakeGpu(uuid=f"GPU-{number}", answers=answers)

    torch_order = [
        SimpleNamespace(name="Fake", uuid=number, major=9, minor=0, total_memory=23 * 2**30) for number in (2, 1)
    ]
    driver = FakePynvml([gpu(0, 100, {5: 1, 6: 1}), gpu(1, 101, {}), gpu(2, 102, {7: 1})])
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(torch_order))
    monkeypatch.setattr(torch.cuda, "get_device_properties", torch_order.__getitem__)
    monkeypatch.setattr(torch.cuda, "can_device_access_peer", lambda i, j: i < j)


def test_describe_names_the_software_and_the_processor():
    here = describe()
    assert here.torch == torch.__version__
    assert here.python == ".".join(map(str, sys.version_info[:3]))
    assert here.cpu_cores == len(os.sched_getaffinity(0))
    assert here.ram_bytes > 2**28
    assert here.torchvision.startswith("0.")


def test_gpus_carry_torchs_numbers_and_the_drivers_readings(two_gpus):
    here = describe()
    assert [(gpu.index, gpu.uuid, gpu.memory_free_bytes) for gpu in here.gpus] == [
        (0, "GPU-2", 102),
        (1, "GPU-1", 101),
    ]
    assert [gpu.compute_capability for gpu in here.gpus] == ["9.0", "9.0"]
    assert [gpu.memory_total_bytes for gpu in here.gpus] == [23 * 2**30] * 2
    assert [gpu.nvlink_links for gpu in here.gpus] == [None, None]
    assert here.driver == "570.86.10"


def test_gpus_without_nvml_keep_what_torch_knows(two_gpus, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    here = describe()
    assert [gpu.name for gpu in here.gpus] == ["Fake", "Fake"]
    assert here.driver is None
    assert {gpu.memory_free_bytes for gpu in here.gpus} == {None}


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (torch.cuda, "device_count"),
        (torch.backends.cudnn, "version"),
        (util, "find_spec"),
        (metadata, "version"),
        (os, "sysconf"),
        (os, "getloadavg"),
    ],
)
def test_describe_never_raises(monkeypatch, owner, name):
    def broken(*_):
        raise RuntimeError("broken")

    monkeypatch.setattr(owner, name, broken)
    assert describe().hostname


@pytest.mark.parametrize(("number", "version"), [(91002, "9.10.2"), (8902, "8.9.2"), (None, None)])
def test_cudnn_version(monkeypatch, number, version):
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: number)
    assert describe().cudnn == version


def test_look_around_sees_all_gpus_of_the_driver_and_who_uses_those_of_torch(two_gpus, tmp_path):
    record = look_around("command", tmp_path)
    assert record.driver_gpus == ["Fake"] * 3
    assert record.driver_capabilities == ["9.0", "9.1", "9.2"]
    assert record.gpu_processes == [1, 0]
    assert record.peer_access == [[True, True], [False, True]]


def test_look_around_says_why_torch_cannot_use_the_drivers_gpus(two_gpus, tmp_path, monkeypatch):
    def too_old():
        raise RuntimeError("The driver is too old.\nSee the manual.")

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "init", too_old)
    record = look_around("command", tmp_path)
    assert record.cuda_error == "The driver is too old."
    assert record.environment.gpus == []


def test_look_around_says_why_torchvision_does_not_import(tmp_path, monkeypatch):
    def broken():
        raise ImportError("no libjpeg")

    monkeypatch.setattr(environment, "import_torchvision", broken)
    assert look_around("command", tmp_path).torchvision_error == "no libjpeg"


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_a_port_is_taken_while_somebody_listens_and_free_afterwards(address):
    with socket.create_server((address, 0)) as server:
        port = server.getsockname()[1]
        assert not port_is_free(port)
        with socket.create_connection(("127.0.0.1", port)):
            server.accept()[0].close()  # leaves the port in TIME_WAIT
    assert port_is_free(port)


def test_no_limit_on_open_files_is_none(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert open_files_limit() is None


def test_what_steers_the_transport_is_recorded_and_what_only_logs_is_not(monkeypatch):
    for name, value in {"NCCL_P2P_DISABLE": "1", "NCCL_DEBUG": "INFO", "GLOO_SOCKET_IFNAME": "lo"}.items():
        monkeypatch.setenv(name, value)
    assert listed_devices("cpu", "0,1").world.transport == "GLOO_SOCKET_IFNAME=lo NCCL_P2P_DISABLE=1"


@pytest.mark.parametrize(("hip", "precision"), [(None, "tf32"), ("6.4", "ieee-fp32")])
def test_amds_gpus_have_no_tf32_though_their_capability_is_9(monkeypatch, hip, precision):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _=0: (9, 4))
    monkeypatch.setattr(torch.version, "hip", hip)
    monkeypatch.setattr("common.machine.precision.CONVOLUTION", SimpleNamespace(fp32_precision="tf32"))
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    assert default_precision("cuda") == precision
