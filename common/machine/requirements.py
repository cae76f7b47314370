"""What the lab needs of a machine, and what to do where it is missing. Reads a record, asks the machine nothing.

A failure means that the lab cannot run. A warning means that it runs, with less to see or with numbers that say less.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from common.formats import counted, gib
from common.records import EnvironmentRecord, Requirement

TORCH_VERSIONS = ((2, 11), (2, 15))
"""Oldest and newest that the lab was made for."""
TORCHVISION_OFFSET = 15
"""torchvision 0.(n + 15) is made for torch 2.n; 0.29.2, which asks for torch 2.14 or later, serves 2.15 too."""
LOOSE_SINCE = (2, 14), (0, 29)
GPU_MEMORY_BYTES = 8 * 2**30
FIRMWARE_BYTES = 2**29
"""Driver and firmware keep some: a GPU that is sold with 8 GiB shows a few hundred MiB less."""
SHARED_MEMORY_BYTES = 2**30
OPEN_FILES = 1024
DISK_BYTES = 100 * 2**20

Problem = tuple[bool, Literal["note", "warning", "failure"], str]
"""Does it hold here; what it means; what to do."""


def check_requirements(record: EnvironmentRecord) -> list[Requirement]:
    """A verdict on each requirement that means something on this machine."""
    return [*_software(record), *_gpus(record), *_host(record)]


def _judge(name: str, found: str, *problems: Problem) -> Requirement:
    """The first problem that holds decides; without one, all is well."""
    for holds, outcome, advice in problems:
        if holds:
            return Requirement(name=name, outcome=outcome, found=found, advice=advice)
    return Requirement(name=name, outcome="ok", found=found)


def _software(record: EnvironmentRecord) -> Iterator[Requirement]:
    torch, vision = record.environment.torch, record.environment.torchvision
    made_for = (0, _version(torch)[1] + TORCHVISION_OFFSET)
    loose = _version(torch) >= LOOSE_SINCE[0] and _version(vision) >= LOOSE_SINCE[1]
    install = "install the versions of pyproject.toml: pip install -e ."
    yield _judge(
        "torch and torchvision fit",
        f"{torch}, {vision or 'no torchvision'}",
        (vision is None, "failure", install),
        (
            record.torchvision_error is not None,
            "failure",
            f"importing torchvision fails ({record.torchvision_error}); {install}",
        ),
        (_version(torch) < TORCH_VERSIONS[0], "failure", f"this torch is too old; {install}"),
        (_version(torch) > TORCH_VERSIONS[1], "warning", f"newer than the lab; if a step fails, {install}"),
        (
            _version(vision) != made_for and not loose,
            "warning",
            f"made for different versions; if a model fails, {install}",
        ),
        (
            bool(_build(torch) and _build(vision)) and _build(torch) != _build(vision),
            "note",
            f"built for different devices ({_build(torch)} and {_build(vision)}): torchvision's own operators, such as "
            "nms for object detection, do not load. The lab uses its classification models alone, and they work",
        ),
    )
    backends, gpus = record.backends, len(record.environment.gpus)
    yield _judge(
        "backend for step 04",
        ", ".join(backends) or "none",
        (not backends, "failure", f"this torch cannot run distributed; {install}"),
        (gpus > 0 and "nccl" not in backends, "warning", "without nccl the GPUs exchange gradients slowly, over gloo"),
        (gpus == 0 and "gloo" not in backends, "failure", f"CPU cores need gloo; {install}"),
    )


def _gpus(record: EnvironmentRecord) -> Iterator[Requirement]:
    here, gpus, known = record.environment, record.environment.gpus, record.driver_gpus
    number = len(gpus) or here.cpu_cores
    yield _judge(
        "two devices, better four",
        counted(number, "GPU" if gpus else "CPU core"),
        (number < 2, "warning", "03 and 04 then run two devices on one: that shows how they work, not what they gain"),
    )
    if known or gpus:
        hidden = record.cuda_visible_devices in ("", "-1")
        yield _judge(
            "torch reaches the GPUs",
            f"{len(gpus)} of {len(known)} that the driver knows"
            if known
            else f"{len(gpus)}; the driver does not answer",
            (
                not known,
                "warning",
                "clocks, temperatures and the memory of processes will be missing: pip install nvidia-ml-py",
            ),
            (
                not gpus and here.cuda is None,
                "warning",
                f"torch {here.torch} is built without CUDA: install a CUDA build, or go on with CPU cores",
            ),
            (not gpus and hidden, "warning", "CUDA_VISIBLE_DEVICES hides them: unset it, or go on with CPU cores"),
            (
                not gpus,
                "failure",
                f"CUDA does not start ({record.cuda_error}): update the driver, or install a torch for an older CUDA",
            ),
        )
    if gpus:
        yield from _each_gpu(record)


def _each_gpu(record: EnvironmentRecord) -> Iterator[Requirement]:
    gpus = record.environment.gpus
    models = sorted({gpu.name for gpu in gpus})
    yield _judge(
        "GPUs of one model",
        ", ".join(models),
        (len(models) > 1, "warning", "the slowest sets the pace of all: pick equal ones, CUDA_VISIBLE_DEVICES=0,1"),
    )
    smaller = "resnet50 with a batch of 64 may not fit; try --batch-size 16 per device"
    if totals := [gpu.memory_total_bytes for gpu in gpus if gpu.memory_total_bytes is not None]:
        small = min(totals) < GPU_MEMORY_BYTES - FIRMWARE_BYTES
        yield _judge("8 GiB on each GPU", f"{gib(min(totals))} or more", (small, "warning", smaller))
    busy = sum(processes or 0 for processes in record.gpu_processes)
    free = [gpu.memory_free_bytes for gpu in gpus if gpu.memory_free_bytes is not None]
    if free:
        yield _judge(
            "GPUs free for you",
            f"{gib(min(free))} or more free, {counted(busy, 'other program')}",
            (busy > 0, "warning", "other programs take part of the speed measured here: nvidia-smi lists them"),
            (min(free) < GPU_MEMORY_BYTES - 2 * FIRMWARE_BYTES, "warning", smaller),
        )


def _host(record: EnvironmentRecord) -> Iterator[Requirement]:
    if (shared := record.shared_memory_bytes) is not None:
        advice = "loaders with workers need it: docker run --shm-size=8g, or --workers 0 in each step"
        yield _judge("shared memory of 1 GiB", gib(shared), (shared < SHARED_MEMORY_BYTES, "warning", advice))
    if (files := record.open_files_limit) is not None:
        few = files < OPEN_FILES
        yield _judge(f"{OPEN_FILES} open files", str(files), (few, "warning", f"raise it: ulimit -n {OPEN_FILES}"))
    if _version(record.environment.torch) < (2, 12):  # since then torchrun on one node takes a free port by itself
        free = record.rendezvous_port_free
        advice = "another program has it, and torchrun starts there: use torchrun --standalone, which takes a free one"
        yield _judge("port 29500", "free" if free else "taken", (not free, "warning", advice))
    if (load := record.environment.load_average_1min) is not None:
        cores = record.environment.cpu_cores
        busy = load > max(1.0, cores / 2)
        advice = "other programs compete for the cores: close them, or measure when they are done"
        yield _judge("a quiet machine", f"load {load:.1f}, {counted(cores, 'core')}", (busy, "warning", advice))
    if (room := record.disk_free_bytes) is not None:
        advice = "records are small, but not that small: make room"
        yield _judge("room for the results", f"{gib(room)} free", (room < DISK_BYTES, "warning", advice))


def _version(text: str | None) -> tuple[int, int]:
    """Major and minor number of "2.13.0+cu130"; (0, 0) of nothing."""
    numbers = re.findall(r"\d+", text or "")[:2]
    return (int(numbers[0]), int(numbers[1])) if len(numbers) == 2 else (0, 0)


def _build(text: str | None) -> str:
    """What it was built for, "cu130" or "cpu" of "2.13.0+cu130"; empty where the version does not say."""
    return (text or "").partition("+")[2]
