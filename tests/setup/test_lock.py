"""requirements.lock: versions that pyproject.toml allows, without torch, and without the address of any index."""

from __future__ import annotations

import re
import tomllib

from conftest import ROOT
from packaging.requirements import Requirement

LINES = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if not line.startswith("#")]
LOCKED = [Requirement(line) for line in LINES]


def test_each_line_is_one_version_and_nothing_else():
    assert LOCKED
    for line, locked in zip(LINES, LOCKED, strict=True):
        assert re.fullmatch(r"[a-z0-9-]+==[0-9.]+( ; [^/]+)?", line), line
        assert not locked.name.startswith(("torch", "triton", "cuda-", "sympy"))


def test_all_that_the_lab_asks_for_is_there_in_versions_that_it_takes():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    for wanted in {Requirement(text) for texts in lists for text in texts}:
        if wanted.name not in ("torch", "torchvision"):
            versions = [next(iter(locked.specifier)).version for locked in LOCKED if locked.name == wanted.name]
            assert versions, wanted
            assert all(wanted.specifier.contains(version) for version in versions), wanted
