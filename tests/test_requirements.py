"""Each requirement against machines that have it, and machines that do not."""

from __future__ import annotations

import re

import pytest

from common.records import Environment, EnvironmentRecord, Gpu
from common.requirements import as_recorded, check_requirements
from common.sentences import Sentences

ENGLISH = Sentences("en")
GIB = 2**30
TORCH, BACKEND = "torch and torchvision fit", "backend for step 04"
CODE = "torch has code for these GPUs"
REACH, DEVICES, MODEL = "torch reaches the GPUs", "two devices, better four", "GPUs of one model"
MEMORY, FREE = "8 GiB on each GPU", "GPUs free for you"
SHARED, FILES, PORT = "shared memory of 1 GiB", "1024 open files", "port 29500"
OWN = "this host finds itself"
KINDS, HYBRID = "CPU cores of one kind", {"cpu_cores": 8}
FAST, SLOW = {"name": "P", "cores": 4}, {"name": "E", "cores": 4}
QUIET, ROOM, PLAIN = "no other programs running", "room for the results", "no variable that slows"


def gpu(index: int, **changes) -> Gpu:
    given = {"name": "Fake", "memory_total_bytes": 24 * GIB, "memory_free_bytes": 23 * GIB}
    return Gpu(index=index, **(given | changes))


def machine(gpus: list[Gpu] = (), here: dict | None = None, **changes) -> EnvironmentRecord:
    """A machine on which all is well, but for the changes (`here`: of its environment)."""
    environment = {
        "hostname": "host",
        "platform": "Linux",
        "python": "3.12.1",
        "torch": "2.11.0+cu130",
        "torchvision": "0.26.0+cu130",
        "cuda": "13.0",
        "driver": "580.95.05",
        "cpu_model": "CPU",
        "cpu_cores": 8,
        "load_average_1min": 0.1,
        "gpus": list(gpus),
    }
    given = {
        "shared_memory_bytes": 8 * GIB,
        "open_files_limit": 4096,
        "own_name_found": True,
        "slowing_variables": [],
        "loopback_up": True,
        "rendezvous_port_free": True,
        "backends": ["nccl", "gloo"],
        "driver_gpus": [one.name for one in gpus],
        "gpu_processes": [0 for _ in gpus],
        "disk_free_bytes": 50 * GIB,
    }
    return EnvironmentRecord(
        run_id="id",
        command="",
        started_at="",
        environment=Environment(**(environment | (here or {}))),
        **(given | changes),
    )


def outcomes(record: EnvironmentRecord) -> dict[str, str]:
    return {requirement.name: requirement.outcome for requirement in check_requirements(record, ENGLISH)}


def test_a_good_gpu_server_meets_everything():
    everything = {TORCH, BACKEND, REACH, DEVICES, MODEL, MEMORY, FREE, SHARED, FILES, OWN, PORT, QUIET, PLAIN, ROOM}
    assert outcomes(machine([gpu(i) for i in range(4)])) == dict.fromkeys(everything, "ok")


def test_a_host_without_gpus_is_not_blamed_for_them():
    verdicts = outcomes(machine(here={"cuda": None, "driver": None, "torch": "2.11.0", "torchvision": "0.26.0"}))
    assert verdicts == dict.fromkeys((TORCH, BACKEND, DEVICES, SHARED, FILES, OWN, PORT, QUIET, PLAIN, ROOM), "ok")


@pytest.mark.parametrize(
    ("name", "outcome", "record"),
    [
        (TORCH, "failure", machine(here={"torchvision": None})),
        (TORCH, "failure", machine(torchvision_error="no libjpeg")),
        (TORCH, "failure", machine(here={"torch": "2.5.1", "torchvision": "0.20.1"})),
        (TORCH, "failure", machine(here={"torch": "2", "torchvision": "0.15"})),
        (TORCH, "ok", machine(here={"torch": "2.6.0", "torchvision": "0.21.0"})),
        (TORCH, "ok", machine(here={"torch": "2.11.0", "torchvision": "0.26.0"})),
        (TORCH, "ok", machine(here={"torch": "2.15.1", "torchvision": "0.30.1"})),
        (TORCH, "ok", machine(here={"torch": "2.15.0", "torchvision": "0.29.2"})),
        (TORCH, "warning", machine(here={"torch": "2.16.0", "torchvision": "0.31.0"})),
        (TORCH, "warning", machine(here={"torch": "2.11.0", "torchvision": "0.28.0"})),
        (TORCH, "note", machine(here={"torch": "2.11.0+cpu", "torchvision": "0.26.0+cu130"})),
        (BACKEND, "failure", machine(backends=[])),
        (BACKEND, "failure", machine(backends=["nccl"])),
        (BACKEND, "ok", machine(backends=["gloo"])),
        (BACKEND, "warning", machine([gpu(0), gpu(1)], backends=["gloo"])),
        (DEVICES, "warning", machine(here={"cpu_cores": 1})),
        (REACH, "note", machine([gpu(0)], here={"cuda": None, "driver": None}, driver_gpus=[])),
        (PLAIN, "warning", machine(slowing_variables=["CUDA_LAUNCH_BLOCKING=1"])),
        (OWN, "warning", machine(own_name_found=False)),
        (OWN, "failure", machine(own_name_found=False, loopback_up=False)),
        (DEVICES, "note", machine(here={"cpu_cores": 4, "physical_cores": 2})),
        (DEVICES, "ok", machine(here={"cpu_cores": 4, "physical_cores": 4})),
        (DEVICES, "ok", machine(here={"cpu_cores": 2})),
        (DEVICES, "note", machine(here=HYBRID | {"core_kinds": [FAST | {"physical_cores": 2}, SLOW]})),
        (KINDS, "note", machine(here=HYBRID | {"core_kinds": [FAST, SLOW]})),
        (KINDS, "ok", machine(here=HYBRID | {"core_kinds": [SLOW]})),
        (DEVICES, "warning", machine([gpu(0)])),
        (DEVICES, "ok", machine([gpu(0), gpu(1)])),
        (REACH, "warning", machine([gpu(0)], driver_gpus=[], here={"driver": None})),
        (REACH, "warning", machine(driver_gpus=["Fake"], here={"cuda": None})),
        (REACH, "warning", machine(driver_gpus=["Fake"], cuda_visible_devices="")),
        (REACH, "failure", machine(driver_gpus=["Fake"], cuda_visible_devices="0", cuda_error="driver too old")),
        (REACH, "ok", machine([gpu(0)], driver_gpus=["Fake", "Fake"], cuda_visible_devices="1")),
        (MODEL, "warning", machine([gpu(0), gpu(1, name="Other")])),
        (MEMORY, "warning", machine([gpu(0), gpu(1, memory_total_bytes=6 * GIB)])),
        (MEMORY, "ok", machine([gpu(0, memory_total_bytes=int(7.7 * GIB))])),
        (FREE, "warning", machine([gpu(0), gpu(1)], gpu_processes=[0, 1])),
        (FREE, "warning", machine([gpu(0), gpu(1, memory_free_bytes=GIB)])),
        (FREE, "ok", machine([gpu(0)], gpu_processes=[None])),
        (SHARED, "warning", machine(shared_memory_bytes=64 * 2**20)),
        (FILES, "warning", machine(open_files_limit=256)),
        (PORT, "warning", machine(here={"torch": "2.11.0"}, rendezvous_port_free=False)),
        (QUIET, "warning", machine(here={"load_average_1min": 4.5})),
        (QUIET, "ok", machine(here={"load_average_1min": 0.9, "cpu_cores": 1})),
        (ROOM, "warning", machine(disk_free_bytes=2**20)),
    ],
)
def test_verdicts(name, outcome, record):
    assert outcomes(record)[name] == outcome


@pytest.mark.parametrize(
    ("name", "record"),
    [
        (SHARED, machine(shared_memory_bytes=None)),
        (FILES, machine(open_files_limit=None)),
        (QUIET, machine(here={"load_average_1min": None})),
        (MEMORY, machine([gpu(0, memory_total_bytes=None)])),
        (FREE, machine([gpu(0, memory_free_bytes=None)])),
        (ROOM, machine(disk_free_bytes=None)),
    ],
)
def test_what_is_not_known_is_not_judged(name, record):
    assert name not in outcomes(record)


def test_whatever_is_not_ok_says_what_to_do():
    worst = machine(
        [gpu(0, memory_total_bytes=GIB), gpu(1, name="Other")],
        {"torch": "2.1.0", "load_average_1min": 99.0},
        backends=[],
        gpu_processes=[3, 0],
        shared_memory_bytes=0,
        open_files_limit=1,
        rendezvous_port_free=False,
        disk_free_bytes=0,
        driver_gpus=[],
    )
    advice = [requirement.advice for requirement in check_requirements(worst, ENGLISH) if requirement.outcome != "ok"]
    assert len(advice) == 11
    assert all(advice)
    english, chinese = (check_requirements(worst, Sentences(language)) for language in ("en", "zh-TW"))
    assert [one.outcome for one in english] == [one.outcome for one in chinese]
    for one in chinese:  # names, and what to do: a Chinese sentence, in which commands stay as they are
        assert re.search("[\u3400-\u9fff]", one.name), one.name
        assert one.outcome == "ok" or re.search("[\u3400-\u9fff]", one.advice), one.advice


def test_a_records_verdicts_are_said_in_the_readers_language_but_for_those_of_another_version():
    record = machine(open_files_limit=1)
    record.requirements = check_requirements(record, ENGLISH)
    record.requirements[0].found = "torch 1.0"
    (other, is_translated), *rest = as_recorded(record, Sentences("zh-TW"))
    assert (other.found, is_translated) == ("torch 1.0", False)
    assert all(is_translated for _, is_translated in rest)
    assert [verdict for verdict, _ in rest] == check_requirements(record, Sentences("zh-TW"))[1:]


def test_words_and_digits_of_older_records_are_those_of_today():
    record = machine(disk_free_bytes=137_406_000_000)
    record.requirements = today = check_requirements(record, ENGLISH)
    quiet, plain, room = today[-3:]
    assert (quiet.name, room.found) == ("no other programs running", "128 GiB free")
    older = [
        quiet.model_copy(update={"name": "a quiet machine"}),
        plain,
        room.model_copy(update={"found": "127.97 GiB free"}),
    ]
    record.requirements = [*today[:-3], *older]
    assert [said for said, _ in as_recorded(record, ENGLISH)] == today
    assert all(is_translated for _, is_translated in as_recorded(record, Sentences("zh-TW")))


def test_a_broken_driver_is_quoted():
    record = machine(driver_gpus=["Fake"], cuda_error="driver too old")
    [verdict] = [requirement for requirement in check_requirements(record, ENGLISH) if requirement.name == REACH]
    assert "driver too old" in verdict.advice


def test_from_torch_2_12_on_the_port_is_no_matter():
    here = {"torch": "2.12.0", "torchvision": "0.27.0"}
    assert PORT not in outcomes(machine(here=here, rendezvous_port_free=False))


OLD_DRIVER = {"driver": "535.183.01"}


@pytest.mark.parametrize(
    ("name", "record", "advice"),
    [
        (
            REACH,
            machine(here=OLD_DRIVER, driver_gpus=["A100"], driver_capabilities=["8.0"], cuda_error="too old"),
            "driver 535.183.01 is too old for torch 2.11.0+cu130 (CUDA 13.0): update it to 580.65.06 or newer, or "
            "install the newest of torch 2.6 to 2.10 (CUDA 12.8), as make lab does in a new .venv",
        ),
        (
            REACH,
            machine(here={"driver": "470.82.01"}, driver_gpus=["K80"], driver_capabilities=["3.7"], cuda_error="-"),
            "driver 470.82.01 is too old for every torch of the lab: update it to 580.65.06 or newer",
        ),
        (
            CODE,
            machine([gpu(0, compute_capability="6.0"), gpu(1, compute_capability="6.0")],
                    here=OLD_DRIVER | {"driver": "580.65.06"}, torch_architectures=["sm_75", "sm_80"]),
            "torch 2.11.0+cu130 has no code for sm_60: install the newest of torch 2.6 to 2.7 (CUDA 12.6), as make lab "
            "does in a new .venv, or hide these GPUs (CUDA_VISIBLE_DEVICES)",
        ),
        (
            CODE,
            machine([gpu(0, compute_capability="3.7")], torch_architectures=["sm_75"]),
            "no torch of the lab has code for sm_37: hide these GPUs (CUDA_VISIBLE_DEVICES)",
        ),
    ],
)  # fmt: skip
def test_a_torch_that_does_not_fit_and_what_would(name, record, advice):
    [verdict] = [one for one in check_requirements(record, ENGLISH) if one.name == name]
    assert (verdict.outcome, verdict.advice) == ("failure", advice)


def test_code_for_every_gpu_is_enough():
    fits = machine([gpu(0, compute_capability="8.9")], torch_architectures=["sm_75", "sm_86"])
    assert outcomes(fits)[CODE] == "ok"
    amd = machine([gpu(0, compute_capability="9.0")], here={"cuda": None}, torch_architectures=["gfx90a"])
    assert CODE not in outcomes(amd)
