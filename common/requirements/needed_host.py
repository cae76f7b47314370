"""The host: versions that fit each other, memory and limits, its own name, no other programs, and room for records."""

from collections.abc import Iterator
from functools import partial
from typing import Any, Literal

from common.formats import gib
from common.messages import Message, message
from common.records import EnvironmentRecord, Requirement
from common.sentences import Sentences
from common.setup.environments import BUILDS, numbers_of

Problem = tuple[bool, Literal["note", "warning", "failure"], Message]
"""Does it hold here; what it means; what to do."""


def notes(holds: bool, remedy: str) -> Problem:
    """Worth knowing, and nothing is harmed."""
    return holds, "note", message(remedy)


def warns(holds: bool, remedy: str) -> Problem:
    """The lab runs, with less to see or with numbers that say less."""
    return holds, "warning", message(remedy)


def fails(holds: bool, remedy: str) -> Problem:
    """The lab cannot run."""
    return holds, "failure", message(remedy)


def checked(words: Sentences, name: Message, found: str, /, *problems: Problem, **values: Any) -> Requirement:
    """The first problem that holds decides; without one, all is well. `values` belong to the name and the remedies."""
    said = {"name": words.text(name.with_values(**values)), "found": found}
    for holds, outcome, remedy in problems:
        if holds:
            return Requirement(**said, outcome=outcome, advice=words.text(remedy.with_values(**values)))
    return Requirement(**said, outcome="ok")


TORCH_VERSIONS = BUILDS[0].first, BUILDS[-1].last
"""Oldest and newest that the lab was made for."""
TORCHVISION_OFFSET = 15
"""torchvision 0.(n + 15) is made for torch 2.n; 0.29.2, which asks for torch 2.14 or later, serves 2.15 too."""
LOOSE_SINCE = (2, 14), (0, 29)


def needs_of_software(record: EnvironmentRecord, words: Sentences) -> Iterator[Requirement]:
    """Verdicts on torch, torchvision and the backend of step 04."""
    translate, check, listed = words.translate, partial(checked, words), words.listed
    torch, vision = record.environment.torch, record.environment.torchvision
    torch_version, vision_version = numbers_of(torch)[:2], numbers_of(vision or "")[:2]
    made_for = (0, sum(torch_version[1:]) + TORCHVISION_OFFSET)  # "2" is read as 2.0
    loose = torch_version >= LOOSE_SINCE[0] and vision_version >= LOOSE_SINCE[1]
    builds = [(version or "").partition("+")[2] for version in (torch, vision)]  # of "2.13.0+cu130": "cu130"
    install = translate("install the versions of pyproject.toml: pip install -e .")
    yield check(
        message("torch and torchvision fit"),
        translate("{torch}, {torchvision}", torch=torch, torchvision=vision or translate("no torchvision")),
        fails(vision is None, "install the versions of pyproject.toml: pip install -e ."),
        fails(record.torchvision_error is not None, "importing torchvision fails ({error}); {install}"),
        fails(torch_version < TORCH_VERSIONS[0], "this torch is too old; {install}"),
        warns(torch_version > TORCH_VERSIONS[1], "newer than the lab; if a step fails, {install}"),
        warns(vision_version != made_for and not loose, "made for different versions; if a model fails, {install}"),
        notes(
            all(builds) and builds[0] != builds[1],
            "built for different devices ({torch} and {torchvision}): torchvision's own operators, such as nms for "
            "object detection, do not load. The lab uses its classification models alone, and they work",
        ),
        install=install,
        error=record.torchvision_error,
        torch=builds[0],
        torchvision=builds[1],
    )
    backends, gpus = record.backends, len(record.environment.gpus)
    yield check(
        message("backend for step 04"),
        listed(backends) or translate("none"),
        fails(not backends, "this torch cannot run distributed; {install}"),
        warns(gpus > 0 and "nccl" not in backends, "without nccl the GPUs exchange gradients slowly, over gloo"),
        fails(gpus == 0 and "gloo" not in backends, "CPU cores need gloo; {install}"),
        install=install,
    )


SHARED_MEMORY_BYTES = 2**30
OPEN_FILES = 1024
DISK_BYTES = 100 * 2**20


def needs_of_host(record: EnvironmentRecord, words: Sentences) -> Iterator[Requirement]:
    """Verdicts on everything but software and devices."""
    translate, check, listed = words.translate, partial(checked, words), words.listed
    if (shared := record.shared_memory_bytes) is not None:
        yield check(
            message("shared memory of 1 GiB"),
            gib(shared),
            warns(
                shared < SHARED_MEMORY_BYTES,
                "loaders with workers need it: docker run --shm-size=8g, or --workers 0 in each step",
            ),
        )
    if (files := record.open_files_limit) is not None:
        yield check(
            message("{count} open files"),
            str(files),
            warns(files < OPEN_FILES, "raise it: ulimit -n {count}"),
            count=OPEN_FILES,
        )
    if record.loopback_up is not None:
        known = translate("by its name") if record.own_name_found else translate("not by its name")
        yield check(
            message("this host finds itself"),
            known if record.loopback_up else translate("no: 127.0.0.1 does not answer"),
            fails(not record.loopback_up, "torchrun's processes meet there: ip link set lo up"),
            warns(
                not record.own_name_found,
                "torchrun would wait for minutes: give it --local-addr=127.0.0.1, as the lab's own commands do "
                "here, or add the line `127.0.1.1 {name}` to /etc/hosts",
            ),
            name=record.environment.hostname,
        )
    if numbers_of(record.environment.torch) < (2, 12):  # since then torchrun on one node takes a free port by itself
        free = record.rendezvous_port_free
        yield check(
            message("port 29500"),
            translate("free") if free else translate("taken"),
            warns(
                not free,
                "another program has it, and torchrun starts there: use torchrun --standalone, which takes a free one",
            ),
        )
    if (load := record.environment.load_average_1min) is not None:
        cores = record.environment.cpu_cores
        found = translate(
            "load {load:.1f}, {cores}", load=load, cores=words.counted(cores, "{count} core", "{count} cores")
        )
        yield check(
            message("no other programs running"),
            found,
            warns(
                load > max(1.0, cores / 2), "other programs use the cores: close them, or measure when they are done"
            ),
        )
    if (variables := record.slowing_variables) is not None:
        names = listed(setting.partition("=")[0] for setting in variables)
        found = listed(variables) or translate("none")
        yield check(
            message("no variable that slows"),
            found,
            warns(bool(names), "they help to find faults, and slow every step: unset {names}"),
            names=names,
        )
    if (room := record.disk_free_bytes) is not None:
        yield check(
            message("room for the results"),
            translate("{bytes:GiB} free", bytes=room),
            warns(room < DISK_BYTES, "records are not large, but they need space: make room"),
        )
