"""The host: versions that fit each other, memory and limits, its own name, no other programs, and room for records."""

from collections.abc import Iterator
from functools import partial
from typing import Any, Literal, NamedTuple

from common.formats import gib
from common.messages import Message, message
from common.records import EnvironmentRecord, Requirement
from common.sentences import Sentences
from common.setup.environments import BUILDS, numbers_of


class Problem(NamedTuple):
    """What it means that a requirement is not met, and what to do, in English."""

    outcome: Literal["ok", "note", "warning", "failure"]
    remedy: str


notes, warns, fails = partial(Problem, "note"), partial(Problem, "warning"), partial(Problem, "failure")
"""Nothing is harmed; the lab runs, with less to see or with numbers that say less; the lab cannot run."""


def checked(words: Sentences, name: Message, found: str, /, *problems: Any, **values: Any) -> Requirement:
    """The first problem that there is decides: each is `condition and warns(…)`. `values` belong to all sentences."""
    outcome, remedy = next(filter(None, problems), Problem("ok", ""))
    named, advice = words.text(name.with_values(**values)), words.translate(remedy, **values)
    return Requirement(name=named, found=found, outcome=outcome, advice=advice)


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
        vision is None and fails("install the versions of pyproject.toml: pip install -e ."),
        record.torchvision_error and fails("importing torchvision fails ({error}); {install}"),
        torch_version < TORCH_VERSIONS[0] and fails("this torch is too old; {install}"),
        torch_version > TORCH_VERSIONS[1] and warns("newer than the lab; if a step fails, {install}"),
        vision_version != made_for and not loose and warns("made for different versions; if a model fails, {install}"),
        all(builds)
        and builds[0] != builds[1]
        and notes(
            "built for different devices ({torch} and {torchvision}): torchvision's own operators, such as nms for "
            "object detection, do not load. The lab uses its classification models alone, and they work"
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
        not backends and fails("this torch cannot run distributed; {install}"),
        gpus > 0 and "nccl" not in backends and warns("without nccl the GPUs exchange gradients slowly, over gloo"),
        gpus == 0 and "gloo" not in backends and fails("CPU cores need gloo; {install}"),
        install=install,
    )


OPEN_FILES = 1024


def needs_of_host(record: EnvironmentRecord, words: Sentences) -> Iterator[Requirement]:
    """Verdicts on everything but software and devices."""
    translate, check, listed = words.translate, partial(checked, words), words.listed
    if (shared := record.shared_memory_bytes) is not None:
        yield check(
            message("shared memory of 1 GiB"),
            gib(shared),
            shared < 2**30
            and warns("loaders with workers need it: docker run --shm-size=8g, or --workers 0 in each step"),
        )
    if (files := record.open_files_limit) is not None:
        few = files < OPEN_FILES and warns("raise it: ulimit -n {count}")
        yield check(message("{count} open files"), str(files), few, count=OPEN_FILES)
    if record.loopback_up is not None:
        known = translate("by its name") if record.own_name_found else translate("not by its name")
        yield check(
            message("this host finds itself"),
            known if record.loopback_up else translate("no: 127.0.0.1 does not answer"),
            not record.loopback_up and fails("torchrun's processes meet there: ip link set lo up"),
            not record.own_name_found
            and warns(
                "torchrun would wait for minutes: give it --local-addr=127.0.0.1, as the lab's own commands do "
                "here, or add the line `127.0.1.1 {name}` to /etc/hosts"
            ),
            name=record.environment.hostname,
        )
    if numbers_of(record.environment.torch) < (2, 12):  # since then torchrun on one node takes a free port by itself
        free = record.rendezvous_port_free
        yield check(
            message("port 29500"),
            translate("free") if free else translate("taken"),
            not free
            and warns(
                "another program has it, and torchrun starts there: use torchrun --standalone, which takes a free one"
            ),
        )
    if (load := record.environment.load_average_1min) is not None:
        cores = record.environment.cpu_cores
        counted = words.counted(cores, "{count} core", "{count} cores")
        yield check(
            message("no other programs running"),
            translate("load {load:.1f}, {cores}", load=load, cores=counted),
            load > max(1.0, cores / 2)
            and warns("other programs use the cores: close them, or measure when they are done"),
        )
    if (variables := record.slowing_variables) is not None:
        yield check(
            message("no variable that slows"),
            listed(variables) or translate("none"),
            bool(variables) and warns("they help to find faults, and slow every step: unset {names}"),
            names=listed(setting.partition("=")[0] for setting in variables),
        )
    if (room := record.disk_free_bytes) is not None:
        yield check(
            message("room for the results"),
            translate("{bytes:GiB} free", bytes=room),
            room < 100 * 2**20 and warns("records are not large, but they need space: make room"),
        )
