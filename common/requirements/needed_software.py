"""Versions that fit each other, and what exchanges gradients."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from common.messages import message
from common.records import EnvironmentRecord, Requirement
from common.requirements.problems import judged, version_of
from common.sentences import Sentences
from common.setup.torch_builds import BUILDS

TORCH_VERSIONS = BUILDS[0].first, BUILDS[-1].last
"""Oldest and newest that the lab was made for."""
TORCHVISION_OFFSET = 15
"""torchvision 0.(n + 15) is made for torch 2.n; 0.29.2, which asks for torch 2.14 or later, serves 2.15 too."""
LOOSE_SINCE = (2, 14), (0, 29)


def needs_of_software(record: EnvironmentRecord, words: Sentences) -> Iterator[Requirement]:
    """Verdicts on torch, torchvision and the backend of step 04."""
    translate, judge, listed = words.translate, partial(judged, words), words.listed
    torch, vision = record.environment.torch, record.environment.torchvision
    made_for = (0, version_of(torch)[1] + TORCHVISION_OFFSET)
    loose = version_of(torch) >= LOOSE_SINCE[0] and version_of(vision) >= LOOSE_SINCE[1]
    builds = [(version or "").partition("+")[2] for version in (torch, vision)]  # of "2.13.0+cu130": "cu130"
    install = translate("install the versions of pyproject.toml: pip install -e .")
    yield judge(
        message("torch and torchvision fit"),
        translate("{torch}, {torchvision}", torch=torch, torchvision=vision or translate("no torchvision")),
        (vision is None, "failure", message("install the versions of pyproject.toml: pip install -e .")),
        (record.torchvision_error is not None, "failure", message("importing torchvision fails ({error}); {install}")),
        (version_of(torch) < TORCH_VERSIONS[0], "failure", message("this torch is too old; {install}")),
        (version_of(torch) > TORCH_VERSIONS[1], "warning", message("newer than the lab; if a step fails, {install}")),
        (
            version_of(vision) != made_for and not loose,
            "warning",
            message("made for different versions; if a model fails, {install}"),
        ),
        (
            all(builds) and builds[0] != builds[1],
            "note",
            message(
                "built for different devices ({torch} and {torchvision}): torchvision's own operators, such as nms for "
                "object detection, do not load. The lab uses its classification models alone, and they work"
            ),
        ),
        install=install,
        error=record.torchvision_error,
        torch=builds[0],
        torchvision=builds[1],
    )
    backends, gpus = record.backends, len(record.environment.gpus)
    yield judge(
        message("backend for step 04"),
        listed(backends) or translate("none"),
        (not backends, "failure", message("this torch cannot run distributed; {install}")),
        (
            gpus > 0 and "nccl" not in backends,
            "warning",
            message("without nccl the GPUs exchange gradients slowly, over gloo"),
        ),
        (gpus == 0 and "gloo" not in backends, "failure", message("CPU cores need gloo; {install}")),
        install=install,
    )
