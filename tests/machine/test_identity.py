"""The identity of a machine: its GPUs, else its system, and what it is in a container."""

from __future__ import annotations

import sys

import pytest
from fake_pynvml import FakeGpu, FakePynvml

from common.machine import environment
from common.machine.environment import describe, machine_identity
from common.machine.nvml import open_nvml
from common.records import machine_hash


@pytest.fixture
def system(tmp_path, monkeypatch):
    """A function that lays out the system's files; those that are not named are not there."""

    def lay_out(**texts):
        for name in ("MACHINE_ID", "BOOT_ID", "CGROUP", "MOUNTS"):
            path = tmp_path / name
            path.unlink(missing_ok=True)
            monkeypatch.setattr(environment, name, path)
            if name in texts:
                path.write_text(texts[name])
        marks = [tmp_path / "dockerenv", tmp_path / "containerenv"]
        monkeypatch.setattr(environment, "CONTAINER_FILES", tuple(marks))
        for mark in marks:
            mark.unlink(missing_ok=True)
            if mark.name in texts:
                mark.touch()

    lay_out(MACHINE_ID="m1", BOOT_ID="b1", MOUNTS="/dev/sda / ext4 rw 0 0\n")
    return lay_out


def driver(monkeypatch, *uuids):
    gpus = [FakeGpu(uuid=str(uuid), answers={"nvmlDeviceGetUUID": uuid} if uuid else {}) for uuid in uuids]
    monkeypatch.setitem(sys.modules, "pynvml", FakePynvml(gpus))


def identity_here():
    with open_nvml() as nvml:
        return machine_identity([gpu.uuid() for gpu in nvml.gpus()], "Example CPU")


def test_gpus_are_the_machine_in_whatever_order_and_whatever_it_is_called(system, monkeypatch):
    driver(monkeypatch, "GPU-1", "GPU-2")
    here = identity_here()
    assert here == machine_hash("gpus", "GPU-1", "GPU-2")
    system(MACHINE_ID="m2", dockerenv="")
    driver(monkeypatch, "GPU-2", "GPU-1")
    assert identity_here() == here
    driver(monkeypatch, "GPU-1", "GPU-3")
    assert identity_here() != here
    assert "GPU" not in here


def test_gpus_that_torch_does_not_see_count_too(monkeypatch):
    driver(monkeypatch, "GPU-1", "GPU-2")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert describe().machine == machine_hash("gpus", "GPU-1", "GPU-2")


def test_without_uuids_it_is_the_system_and_its_processor(system, monkeypatch):
    driver(monkeypatch, None)
    assert identity_here() == machine_hash("host", "m1", "Example CPU")
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert identity_here() == machine_hash("host", "m1", "Example CPU")
    assert machine_identity([], "Other CPU") != identity_here()


@pytest.mark.parametrize(
    "mark",
    [{"dockerenv": ""}, {"containerenv": ""}, {"CGROUP": "0::/kubepods/pod1/abc\n"},
     {"MOUNTS": "overlay / overlay rw,lowerdir=/a 0 0\n"}],
)  # fmt: skip
def test_in_a_container_the_images_id_says_nothing(system, mark):
    system(MACHINE_ID="of the image", BOOT_ID="b1", **mark)
    assert machine_identity([], "Example CPU") == machine_hash("host", "b1", "Example CPU")


@pytest.mark.parametrize("text", ["", "uninitialized\n", None])
def test_a_host_without_an_id_is_known_by_its_boot(system, text):
    system(BOOT_ID="b1\n", **({} if text is None else {"MACHINE_ID": text}))
    assert machine_identity([], "Example CPU") == machine_hash("host", "b1", "Example CPU")


def test_nothing_to_read_is_no_identity_and_no_error(system, tmp_path, monkeypatch):
    system()
    monkeypatch.setattr(environment, "MACHINE_ID", tmp_path)  # a folder
    (tmp_path / "BOOT_ID").write_bytes(b"\xff\xfe")
    assert machine_identity([], "Example CPU") is None
    monkeypatch.setattr(environment, "machine_hash", None)  # whatever goes wrong
    system(BOOT_ID="b1")
    assert describe().machine is None or describe().gpus
