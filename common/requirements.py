"""What the lab needs of a machine, and what to do where it is missing. Reads a record, asks the machine nothing.

A failure means that the lab cannot run. A warning means that it runs, with less to see or with numbers that say less.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from common.formats import gib
from common.records import EnvironmentRecord, Requirement
from common.sentences import Sentences

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


def check_requirements(record: EnvironmentRecord, words: Sentences) -> list[Requirement]:
    """A verdict on each requirement that means something on this machine, in the language of `words`."""
    return [*_software(record, words), *_gpus(record, words), *_host(record, words)]


def as_recorded(record: EnvironmentRecord, words: Sentences) -> list[tuple[Requirement, bool]]:
    """The verdicts that a record holds, in English, said in the language of `words`; and whether that succeeded: a
    record of another version of the lab may have verdicts that are not drawn today."""
    drawn = zip(check_requirements(record, Sentences("en")), check_requirements(record, words), strict=True)
    said = {english.model_dump_json(): translated for english, translated in drawn}
    found = ((verdict, said.get(verdict.model_dump_json())) for verdict in record.requirements)
    return [(translated or verdict, translated is not None) for verdict, translated in found]


def _judge(name: str, found: str, *problems: Problem) -> Requirement:
    """The first problem that holds decides; without one, all is well."""
    for holds, outcome, advice in problems:
        if holds:
            return Requirement(name=name, outcome=outcome, found=found, advice=advice)
    return Requirement(name=name, outcome="ok", found=found)


def _software(record: EnvironmentRecord, words: Sentences) -> Iterator[Requirement]:
    say, torch, vision = words.say, record.environment.torch, record.environment.torchvision
    made_for = (0, _version(torch)[1] + TORCHVISION_OFFSET)
    loose = _version(torch) >= LOOSE_SINCE[0] and _version(vision) >= LOOSE_SINCE[1]
    install, builds = say("remedy.install"), (_build(torch), _build(vision))
    yield _judge(
        say("requirement.torch"),
        say("found.torch", torch=torch, torchvision=vision or say("found.no_torchvision")),
        (vision is None, "failure", install),
        (
            record.torchvision_error is not None,
            "failure",
            say("remedy.torchvision_fails", error=record.torchvision_error, install=install),
        ),
        (_version(torch) < TORCH_VERSIONS[0], "failure", say("remedy.too_old", install=install)),
        (_version(torch) > TORCH_VERSIONS[1], "warning", say("remedy.too_new", install=install)),
        (_version(vision) != made_for and not loose, "warning", say("remedy.other_versions", install=install)),
        (
            all(builds) and builds[0] != builds[1],
            "note",
            say("remedy.other_builds", torch=builds[0], torchvision=builds[1]),
        ),
    )
    backends, gpus = record.backends, len(record.environment.gpus)
    yield _judge(
        say("requirement.backend"),
        words.say("list.comma").join(backends) or say("found.no_backend"),
        (not backends, "failure", say("remedy.not_distributed", install=install)),
        (gpus > 0 and "nccl" not in backends, "warning", say("remedy.no_nccl")),
        (gpus == 0 and "gloo" not in backends, "failure", say("remedy.no_gloo", install=install)),
    )


def _gpus(record: EnvironmentRecord, words: Sentences) -> Iterator[Requirement]:
    say, here, gpus, known = words.say, record.environment, record.environment.gpus, record.driver_gpus
    number = len(gpus) or here.alike_cores
    threads, cores = here.cpu_cores, here.physical_cores
    if here.core_kinds:
        threads, cores = here.core_kinds[0].cores, here.core_kinds[0].physical_cores
    yield _judge(
        say("requirement.devices"),
        words.counted(number, "place.gpu" if gpus else "place.core"),
        (number < 2, "warning", say("remedy.one_device")),
        (
            not gpus and cores is not None and cores < threads,
            "note",
            say("remedy.siblings", threads=threads, cores=cores),
        ),
    )
    if here.core_kinds and not gpus:
        kinds = [say("place.models", count=kind.cores, model=kind.name) for kind in here.core_kinds]
        yield _judge(
            say("requirement.one_kind"),
            say("list.comma").join(kinds),
            (len(kinds) > 1, "note", say("remedy.core_kinds", cores=number, kind=here.core_kinds[0].name)),
        )
    if known or gpus:
        hidden = record.cuda_visible_devices in ("", "-1")
        yield _judge(
            say("requirement.reached"),
            say("found.of_known" if known else "found.driver_is_silent", here=len(gpus), known=len(known)),
            (not known and here.cuda is None and bool(gpus), "note", say("remedy.not_nvidia")),
            (not known, "warning", say("remedy.driver_is_silent")),
            (not gpus and here.cuda is None, "warning", say("remedy.without_cuda", torch=here.torch)),
            (not gpus and hidden, "warning", say("remedy.hidden")),
            (not gpus, "failure", say("remedy.cuda_fails", error=record.cuda_error)),
        )
    if gpus:
        yield from _each_gpu(record, words)


def _each_gpu(record: EnvironmentRecord, words: Sentences) -> Iterator[Requirement]:
    say, gpus = words.say, record.environment.gpus
    models = sorted({gpu.name for gpu in gpus})
    yield _judge(
        say("requirement.one_model"),
        say("list.comma").join(models),
        (len(models) > 1, "warning", say("remedy.unlike")),
    )
    smaller = say("remedy.smaller_batch")
    if totals := [gpu.memory_total_bytes for gpu in gpus if gpu.memory_total_bytes is not None]:
        small = min(totals) < GPU_MEMORY_BYTES - FIRMWARE_BYTES
        found = say("found.or_more", bytes=min(totals))
        yield _judge(say("requirement.gpu_memory"), found, (small, "warning", smaller))
    busy = sum(processes or 0 for processes in record.gpu_processes)
    free = [gpu.memory_free_bytes for gpu in gpus if gpu.memory_free_bytes is not None]
    if free:
        yield _judge(
            say("requirement.free_gpus"),
            say("found.free_gpus", bytes=min(free), programs=words.counted(busy, "counted.program")),
            (busy > 0, "warning", say("remedy.other_programs")),
            (min(free) < GPU_MEMORY_BYTES - 2 * FIRMWARE_BYTES, "warning", smaller),
        )


def _host(record: EnvironmentRecord, words: Sentences) -> Iterator[Requirement]:
    say = words.say
    if (shared := record.shared_memory_bytes) is not None:
        small = shared < SHARED_MEMORY_BYTES
        yield _judge(say("requirement.shared_memory"), gib(shared), (small, "warning", say("remedy.shared_memory")))
    if (files := record.open_files_limit) is not None:
        few, name = files < OPEN_FILES, say("requirement.open_files", count=OPEN_FILES)
        yield _judge(name, str(files), (few, "warning", say("remedy.open_files", count=OPEN_FILES)))
    if record.loopback_up is not None:
        lost = not record.loopback_up
        name = say("found.loopback_down" if lost else f"found.name_{'known' if record.own_name_found else 'unknown'}")
        yield _judge(
            say("requirement.own_host"),
            name,
            (lost, "failure", say("remedy.loopback_down")),
            (not record.own_name_found, "warning", say("remedy.name_unknown", name=record.environment.hostname)),
        )
    if _version(record.environment.torch) < (2, 12):  # since then torchrun on one node takes a free port by itself
        free = record.rendezvous_port_free
        found = say("found.port_free" if free else "found.port_taken")
        yield _judge(say("requirement.port"), found, (not free, "warning", say("remedy.port_taken")))
    if (load := record.environment.load_average_1min) is not None:
        cores = record.environment.cpu_cores
        busy, found = load > max(1.0, cores / 2), words.counted(cores, "counted.core")
        found = say("found.load", load=load, cores=found)
        yield _judge(say("requirement.quiet"), found, (busy, "warning", say("remedy.busy")))
    if record.slowing_variables is not None:
        names = words.say("list.comma").join(setting.partition("=")[0] for setting in record.slowing_variables)
        found = say("list.comma").join(record.slowing_variables) or say("found.no_variables")
        spoil: Problem = (bool(names), "warning", say("remedy.slowing_variables", names=names))
        yield _judge(say("requirement.no_debugging"), found, spoil)
    if (room := record.disk_free_bytes) is not None:
        scarce = room < DISK_BYTES
        yield _judge(say("requirement.room"), say("found.room", bytes=room), (scarce, "warning", say("remedy.room")))


def _version(text: str | None) -> tuple[int, int]:
    """Major and minor number of "2.13.0+cu130"; (0, 0) of nothing."""
    numbers = re.findall(r"\d+", text or "")[:2]
    return (int(numbers[0]), int(numbers[1])) if len(numbers) == 2 else (0, 0)


def _build(text: str | None) -> str:
    """What it was built for, "cu130" or "cpu" of "2.13.0+cu130"; empty where the version does not say."""
    return (text or "").partition("+")[2]
