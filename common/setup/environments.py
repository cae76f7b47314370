"""Python environments and the GPUs of this machine, asked from outside: by programs that are started."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from common.setup.torch_builds import BUILDS, dotted, lacking, numbers_of

STAMP = ".dp-vs-ddp-lab"
"""A file in an environment that has what the lab needs: a line for each extra that was installed, too."""
MADE = ".dp-vs-ddp-lab-made"
"""A file in an environment that the lab made, and may replace: a stamp has every one that it has used, too."""
LOOK = """
import json, sys
from importlib.metadata import distributions
from importlib.util import find_spec
if sys.version_info < (3, 11):
    sys.exit("it has Python %d.%d, and the lab needs 3.11" % sys.version_info[:2])
if not find_spec("torch"):
    sys.exit("it has no torch")
there = sorted({(one.metadata["Name"], one.version) for one in distributions() if one.metadata["Name"] and one.version})
import torch
torch.ones(2).sum().item()
print("\\n" + json.dumps([torch.__version__, torch.cuda.is_available(), torch.cuda.get_arch_list(), there]))
"""
Packages = list[tuple[str, str]]
"""Names and versions of all that is installed."""


class Gpus(NamedTuple):
    """NVIDIA's, as the driver tells without torch."""

    driver: str | None
    capabilities: list[str]
    """Of each GPU, such as "7.5"."""


def gpus_here() -> Gpus:
    """What nvidia-smi says; nothing where there is none, or where CUDA_VISIBLE_DEVICES hides all GPUs."""
    command = ["nvidia-smi", "--query-gpu=driver_version,compute_cap", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return Gpus(None, [])
    if done.returncode or os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return Gpus(None, [])
    rows = [[field.strip() for field in line.split(",")] for line in done.stdout.splitlines() if "," in line]
    return Gpus(rows[0][0] if rows else None, [capability for _, capability in rows if capability[:1].isdigit()])


class PythonEnvironment:
    """A folder with `bin/python`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = folder / "bin" / "python"

    def is_ready(self, extras: Sequence[str], since: float) -> bool:
        """Whether the lab's packages and these extras were installed after `since` (seconds, as files have them)."""
        stamp = self.folder / STAMP
        return self.python.exists() and stamp.exists() and stamp.stat().st_mtime >= since and set(extras) <= self.extras

    @property
    def extras(self) -> set[str]:
        """Those that have been installed."""
        stamp = self.folder / STAMP
        return set(stamp.read_text().split()) if stamp.exists() else set()

    def mark_ready(self, extras: Sequence[str]) -> None:
        """All is installed, with these extras. Where nobody may write, the next call looks again."""
        with suppress(OSError):
            (self.folder / STAMP).write_text("".join(f"{extra}\n" for extra in sorted(self.extras | set(extras))))

    @property
    def is_the_labs(self) -> bool:
        """Whether the lab made it."""
        return (self.folder / MADE).exists()

    def mark_made(self) -> None:
        """The lab made it, with or without packages yet."""
        (self.folder / MADE).touch()


class Torch(NamedTuple):
    """A torch that the lab can use, and all that is installed beside it."""

    version: str
    packages: Packages


def usable_torch(environment: PythonEnvironment, gpus: Gpus) -> Torch | str:
    """The torch of an environment, or why the lab cannot use it on this machine."""
    try:
        done = subprocess.run([environment.python, "-c", LOOK], capture_output=True, text=True, timeout=300)
    except (OSError, subprocess.SubprocessError) as error:
        return f"its Python does not start ({error})"
    if done.returncode:
        said = done.stderr.strip().rpartition("\n")[2]
        return said if said.startswith("it has ") else f"its torch does not load ({said})"
    version, reaches_gpus, architectures, packages = json.loads(done.stdout.splitlines()[-1])
    oldest, newest = BUILDS[0].first, BUILDS[-1].last
    if not oldest <= numbers_of(version)[:2] <= newest:
        return f"its torch is {version}, and the lab is made for {dotted(oldest)} to {dotted(newest)}"
    if gpus.capabilities and not reaches_gpus:
        return f"its torch {version} does not reach the GPUs"
    if unserved := lacking(architectures, gpus.capabilities):
        return f"its torch {version} is not built for {unserved[0]}"
    return Torch(version, [(name, there) for name, there in packages])
