"""The host: its memory and limits, its own name, quiet, and room for records."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from common.formats import gib
from common.messages import message
from common.records import EnvironmentRecord, Requirement
from common.requirements.problems import judged, version_of
from common.sentences import Sentences

SHARED_MEMORY_BYTES = 2**30
OPEN_FILES = 1024
DISK_BYTES = 100 * 2**20


def needs_of_host(record: EnvironmentRecord, words: Sentences) -> Iterator[Requirement]:
    """Verdicts on everything but software and devices."""
    translate, judge, listed = words.translate, partial(judged, words), words.listed
    if (shared := record.shared_memory_bytes) is not None:
        yield judge(
            message("shared memory of 1 GiB"),
            gib(shared),
            (
                shared < SHARED_MEMORY_BYTES,
                "warning",
                message("loaders with workers need it: docker run --shm-size=8g, or --workers 0 in each step"),
            ),
        )
    if (files := record.open_files_limit) is not None:
        yield judge(
            message("{count} open files"),
            str(files),
            (files < OPEN_FILES, "warning", message("raise it: ulimit -n {count}")),
            count=OPEN_FILES,
        )
    if record.loopback_up is not None:
        known = translate("by its name") if record.own_name_found else translate("not by its name")
        yield judge(
            message("this host finds itself"),
            known if record.loopback_up else translate("no: 127.0.0.1 does not answer"),
            (not record.loopback_up, "failure", message("torchrun's processes meet there: ip link set lo up")),
            (
                not record.own_name_found,
                "warning",
                message(
                    "torchrun would wait for minutes: give it --local-addr=127.0.0.1, as the lab's own commands do "
                    "here, or add the line `127.0.1.1 {name}` to /etc/hosts"
                ),
            ),
            name=record.environment.hostname,
        )
    if version_of(record.environment.torch) < (2, 12):  # since then torchrun on one node takes a free port by itself
        free = record.rendezvous_port_free
        yield judge(
            message("port 29500"),
            translate("free") if free else translate("taken"),
            (
                not free,
                "warning",
                message(
                    "another program has it, and torchrun starts there: use torchrun --standalone, which takes a free "
                    "one"
                ),
            ),
        )
    if (load := record.environment.load_average_1min) is not None:
        cores = record.environment.cpu_cores
        found = translate(
            "load {load:.1f}, {cores}", load=load, cores=words.counted(cores, "{count} core", "{count} cores")
        )
        yield judge(
            message("no other programs running"),
            found,
            (
                load > max(1.0, cores / 2),
                "warning",
                message("other programs use the cores: close them, or measure when they are done"),
            ),
        )
    if (variables := record.slowing_variables) is not None:
        names = listed(setting.partition("=")[0] for setting in variables)
        found = listed(variables) or translate("none")
        yield judge(
            message("no variable that slows"),
            found,
            (bool(names), "warning", message("they help to find faults, and slow every step: unset {names}")),
            names=names,
        )
    if (room := record.disk_free_bytes) is not None:
        yield judge(
            message("room for the results"),
            translate("{bytes:GiB} free", bytes=room),
            (room < DISK_BYTES, "warning", message("records are not large, but they need space: make room")),
        )
