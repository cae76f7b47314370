"""What the lab needs of a machine, and what to do where it is missing. Reads a record, asks the machine nothing.

A failure means that the lab cannot run. A warning means that it runs, with less to see or with numbers that say less.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Any, Literal

from common.formats import gib
from common.records import EnvironmentRecord, Requirement
from common.sentences import Sentences
from common.setup.torch_builds import BUILDS

TORCH_VERSIONS = BUILDS[0].first, BUILDS[-1].last
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
"""Does it hold here; what it means; what to do, by the name of a sentence, `remedy.<name>`."""


def check_requirements(record: EnvironmentRecord, words: Sentences) -> list[Requirement]:
    """A verdict on each requirement that means something on this machine, in the language of `words`."""
    return [*_software(record, words), *_gpus(record, words), *_host(record, words)]


def as_recorded(record: EnvironmentRecord, words: Sentences) -> list[tuple[Requirement, bool]]:
    """The verdicts that a record holds, in English, said in the language of `words`; and whether that succeeded: a
    record of another version of the lab may have verdicts that are not drawn today."""
    drawn = zip(check_requirements(record, Sentences("en")), check_requirements(record, words), strict=True)
    said = {english.model_dump_json(): translated for english, translated in drawn}
    found = ((one, said.get(one.model_dump_json())) for one in record.requirements)
    return [(translated or recorded, translated is not None) for recorded, translated in found]


def _verdict(words: Sentences, name: str, found: str, /, *problems: Problem, **values: Any) -> Requirement:
    """The first problem that holds decides; without one, all is well. `values` belong to the name and the remedies."""
    judged = {"name": words.translate(f"requirement.{name}", **values), "found": found}
    for holds, outcome, remedy in problems:
        if holds:
            return Requirement(**judged, outcome=outcome, advice=words.translate(f"remedy.{remedy}", **values))
    return Requirement(**judged, outcome="ok")


def _software(record: EnvironmentRecord, words: Sentences) -> Iterator[Requirement]:
    translate, verdict, listed = words.translate, partial(_verdict, words), words.translate("list.comma").join
    torch, vision = record.environment.torch, record.environment.torchvision
    made_for = (0, _version(torch)[1] + TORCHVISION_OFFSET)
    loose = _version(torch) >= LOOSE_SINCE[0] and _version(vision) >= LOOSE_SINCE[1]
    builds = [(version or "").partition("+")[2] for version in (torch, vision)]  # of "2.13.0+cu130": "cu130"
    install = translate("remedy.install")
    yield verdict(
        "torch",
        translate("found.torch", torch=torch, torchvision=vision or translate("found.no_torchvision")),
        (vision is None, "failure", "install"),
        (record.torchvision_error is not None, "failure", "torchvision_fails"),
        (_version(torch) < TORCH_VERSIONS[0], "failure", "too_old"),
        (_version(torch) > TORCH_VERSIONS[1], "warning", "too_new"),
        (_version(vision) != made_for and not loose, "warning", "other_versions"),
        (all(builds) and builds[0] != builds[1], "note", "other_builds"),
        install=install, error=record.torchvision_error, torch=builds[0], torchvision=builds[1],
    )  # fmt: skip
    backends, gpus = record.backends, len(record.environment.gpus)
    yield verdict(
        "backend",
        listed(backends) or translate("found.no_backend"),
        (not backends, "failure", "not_distributed"),
        (gpus > 0 and "nccl" not in backends, "warning", "no_nccl"),
        (gpus == 0 and "gloo" not in backends, "failure", "no_gloo"),
        install=install,
    )


def _gpus(record: EnvironmentRecord, words: Sentences) -> Iterator[Requirement]:
    translate, verdict, listed = words.translate, partial(_verdict, words), words.translate("list.comma").join
    here, gpus, known = record.environment, record.environment.gpus, record.driver_gpus
    number, kinds = len(gpus) or here.cpu_cores, here.core_kinds
    threads, cores = here.cpu_cores, here.physical_cores
    if kinds:
        threads, cores = kinds[0].cores, kinds[0].physical_cores
    yield verdict(
        "devices",
        words.counted(number, "place.gpu" if gpus else "place.core"),
        (number < 2, "warning", "one_device"),
        (not gpus and cores is not None and cores < threads, "note", "siblings"),
        threads=threads, cores=cores,
    )  # fmt: skip
    if kinds and not gpus:
        found = listed(translate("place.models", count=kind.cores, model=kind.name) for kind in kinds)
        yield verdict(
            "one_kind", found, (len(kinds) > 1, "note", "core_kinds"), cores=here.alike_cores, kind=kinds[0].name
        )
    if known or gpus:
        yield verdict(
            "reached",
            translate("found.of_known" if known else "found.driver_is_silent", here=len(gpus), known=len(known)),
            (not known and here.cuda is None and bool(gpus), "note", "not_nvidia"),
            (not known, "warning", "driver_is_silent"),
            (not gpus and here.cuda is None, "warning", "without_cuda"),
            (not gpus and record.cuda_visible_devices in ("", "-1"), "warning", "hidden"),
            (not gpus, "failure", "cuda_fails"),
            torch=here.torch, error=record.cuda_error,
        )  # fmt: skip
    if models := sorted({gpu.name for gpu in gpus}):
        yield verdict("one_model", listed(models), (len(models) > 1, "warning", "unlike"))
    if totals := [gpu.memory_total_bytes for gpu in gpus if gpu.memory_total_bytes is not None]:
        small = min(totals) < GPU_MEMORY_BYTES - FIRMWARE_BYTES
        yield verdict("gpu_memory", translate("found.or_more", bytes=min(totals)), (small, "warning", "smaller_batch"))
    if free := [gpu.memory_free_bytes for gpu in gpus if gpu.memory_free_bytes is not None]:
        busy = sum(processes or 0 for processes in record.gpu_processes)
        yield verdict(
            "free_gpus",
            translate("found.free_gpus", bytes=min(free), programs=words.counted(busy, "counted.program")),
            (busy > 0, "warning", "other_programs"),
            (min(free) < GPU_MEMORY_BYTES - 2 * FIRMWARE_BYTES, "warning", "smaller_batch"),
        )


def _host(record: EnvironmentRecord, words: Sentences) -> Iterator[Requirement]:
    translate, verdict, listed = words.translate, partial(_verdict, words), words.translate("list.comma").join
    if (shared := record.shared_memory_bytes) is not None:
        yield verdict("shared_memory", gib(shared), (shared < SHARED_MEMORY_BYTES, "warning", "shared_memory"))
    if (files := record.open_files_limit) is not None:
        yield verdict("open_files", str(files), (files < OPEN_FILES, "warning", "open_files"), count=OPEN_FILES)
    if record.loopback_up is not None:
        name = "name_known" if record.own_name_found else "name_unknown"
        yield verdict(
            "own_host",
            translate(f"found.{name if record.loopback_up else 'loopback_down'}"),
            (not record.loopback_up, "failure", "loopback_down"),
            (not record.own_name_found, "warning", "name_unknown"),
            name=record.environment.hostname,
        )
    if _version(record.environment.torch) < (2, 12):  # since then torchrun on one node takes a free port by itself
        free = record.rendezvous_port_free
        yield verdict(
            "port", translate(f"found.port_{'free' if free else 'taken'}"), (not free, "warning", "port_taken")
        )
    if (load := record.environment.load_average_1min) is not None:
        cores = record.environment.cpu_cores
        found = translate("found.load", load=load, cores=words.counted(cores, "counted.core"))
        yield verdict("quiet", found, (load > max(1.0, cores / 2), "warning", "busy"))
    if (variables := record.slowing_variables) is not None:
        names = listed(setting.partition("=")[0] for setting in variables)
        found = listed(variables) or translate("found.no_variables")
        yield verdict("no_debugging", found, (bool(names), "warning", "slowing_variables"), names=names)
    if (room := record.disk_free_bytes) is not None:
        yield verdict("room", translate("found.room", bytes=room), (room < DISK_BYTES, "warning", "room"))


def _version(text: str | None) -> tuple[int, int]:
    """Major and minor number of "2.13.0+cu130"; (0, 0) of nothing."""
    numbers = re.findall(r"\d+", text or "")[:2]
    return (int(numbers[0]), int(numbers[1])) if len(numbers) == 2 else (0, 0)
