"""Python environments and the GPUs of this machine, asked from outside; and which versions of torch run on them.

Each version of torch has one wheel that a package index gives by default for Linux on x86_64, built for one CUDA and
for some architectures of GPUs. Sources: the CUDA is what the wheel's metadata ask for (2.6.0, 2.7.1, 2.8.0, 2.9.1,
2.10.0, 2.11.0, 2.12.0, 2.13.0, 2.14.1 and 2.15.0 were read); the architectures are what
`torch._C._cuda_getArchFlags()` says (2.6.0, 2.7.1, 2.10.0, 2.14.1, 2.15.0) and, for the versions between,
TORCH_CUDA_ARCH_LIST of pytorch's `.ci/manywheel/build_cuda.sh`; drivers are from NVIDIA's "CUDA Compatibility", minor
version compatibility: one driver runs every minor version of a CUDA.
"""

import json
import os
import re
import subprocess
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

Version = tuple[int, ...]

SINCE_TURING = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120")
UNTIL_HOPPER = ("sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90")
ARCHITECTURE = re.compile(r"(sm|compute)_(\d+)[af]?")

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


class Build(NamedTuple):
    """Versions of torch from `first` to `last`, whose wheels are for one CUDA and these GPUs; or, of several such
    rows, the newest one's."""

    first: Version
    last: Version
    cuda: Version
    architectures: tuple[str, ...]

    @property
    def requirement(self) -> str:
        """For pip and uv, which take the newest; without bounds that are the lab's own."""
        (major, minor), bounds = self.last, []
        if self.first > BUILDS[0].first:
            bounds.append(f">={dotted(self.first)}")
        if self.last < BUILDS[-1].last:
            bounds.append(f"<{major}.{minor + 1}")
        return "torch" + ",".join(bounds)

    def __str__(self) -> str:
        first, last, cuda = map(dotted, self[:3])
        return f"torch {first if first == last else f'{first} to {last}'} (CUDA {cuda})"


BUILDS = (
    Build((2, 6), (2, 6), (12, 4), UNTIL_HOPPER),
    Build((2, 7), (2, 7), (12, 6), UNTIL_HOPPER),
    Build((2, 8), (2, 10), (12, 8), ("sm_70", *SINCE_TURING)),
    Build((2, 11), (2, 14), (13, 0), SINCE_TURING),
    Build((2, 15), (2, 15), (13, 2), SINCE_TURING),
)
OLDEST_DRIVERS = {12: "525.60.13", 13: "580.65.06"}
"""By the major version of CUDA."""


def torch_for(driver: str | None, capabilities: Sequence[str]) -> Build | None:
    """The versions that run on all these GPUs (compute capabilities such as "7.5"), else on as many as one version can;
    all of the lab's without GPUs, for CPU cores run each; None where no version runs on any of them."""
    able = [build for build in BUILDS if not capabilities or not too_old(driver, build.cuda)]
    unserved = [len(lacking(build.architectures, capabilities)) for build in able]
    best = [build for build, number in zip(able, unserved, strict=True) if number == min(unserved)]
    if not best or (capabilities and min(unserved) == len(capabilities)):
        return None
    return best[-1]._replace(first=best[0].first)


def too_old(driver: str | None, cuda: Version) -> str | None:
    """The driver that this CUDA asks for, where the one that is there is older; None where it will do or is unknown."""
    needed = OLDEST_DRIVERS.get(cuda[0])
    return needed if driver and needed and numbers_of(driver) < numbers_of(needed) else None


def lacking(architectures: Iterable[str], capabilities: Iterable[str]) -> list[str]:
    """The GPUs for which nothing is built, as sm_60; `architectures` are as `torch.cuda.get_arch_list()` has them."""
    built = [(match[1], int(match[2])) for match in map(ARCHITECTURE.fullmatch, architectures) if match]
    gpus = [int(capability.replace(".", "")) for capability in capabilities]

    def serves(kind: str, least: int, gpu: int) -> bool:
        # Machine code, sm_86, runs on 8.6 and 8.9, not on 8.0 or 9.0; compute_86 is compiled for all that came later.
        return gpu >= least and (kind == "compute" or gpu // 10 == least // 10)

    return [f"sm_{gpu}" for gpu in gpus if not any(serves(kind, least, gpu) for kind, least in built)]


def numbers_of(text: str) -> Version:
    """(535, 183, 1) of "535.183.01", (2, 13, 0) of "2.13.0+cu130"."""
    return tuple(int(number) for number in re.findall(r"\d+", text.partition("+")[0]))


def dotted(version: Version) -> str:
    """ "2.13" of (2, 13)."""
    return ".".join(map(str, version))


class Gpus(NamedTuple):
    """NVIDIA's, as the driver tells without torch."""

    driver: str | None
    capabilities: list[str]
    """Of each GPU, such as "7.5"."""


def gpus_here() -> Gpus:
    """What nvidia-smi says; nothing where there is none, or where CUDA_VISIBLE_DEVICES hides all GPUs."""
    command = ["nvidia-smi", "--query-gpu=driver_version,compute_cap", "--format=csv,noheader"]
    said = ""
    if os.environ.get("CUDA_VISIBLE_DEVICES") not in ("", "-1"):
        with suppress(OSError, subprocess.SubprocessError):
            said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    rows = [[field.strip() for field in line.split(",")] for line in said.splitlines() if "," in line]
    return Gpus(rows[0][0] if rows else None, [capability for _, capability in rows if capability[:1].isdigit()])


class PythonEnvironment:
    """A folder with `bin/python`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.python = folder, folder / "bin" / "python"
        self.stamp, self.made = folder / STAMP, folder / MADE

    def is_ready(self, extras: Sequence[str], since: float) -> bool:
        """Whether the lab's packages and these extras were installed after `since` (seconds, as files have them)."""
        is_new = self.python.exists() and self.stamp.exists() and self.stamp.stat().st_mtime >= since
        return is_new and set(extras) <= set(self.stamp.read_text().split())

    def mark_ready(self, extras: Sequence[str]) -> None:
        """All is installed, with these extras, too. Where nobody may write, the next call looks again."""
        with suppress(OSError):
            before = self.stamp.read_text().split() if self.stamp.exists() else []
            self.stamp.write_text("".join(f"{extra}\n" for extra in sorted({*before, *extras})))


def usable_torch(environment: PythonEnvironment, gpus: Gpus) -> tuple[str, Packages] | str:
    """The version of an environment's torch, and all that is installed there; or why the lab cannot use it here."""
    try:
        done = subprocess.run([environment.python, "-c", LOOK], capture_output=True, text=True, timeout=300)
    except (OSError, subprocess.SubprocessError) as error:
        return f"its Python does not start ({error})"
    if done.returncode:
        reason = done.stderr.strip().rpartition("\n")[2]
        return reason if reason.startswith("it has ") else f"its torch does not load ({reason})"
    version, reaches_gpus, architectures, packages = json.loads(done.stdout.splitlines()[-1])
    oldest, newest = BUILDS[0].first, BUILDS[-1].last
    if not oldest <= numbers_of(version)[:2] <= newest:
        return f"its torch is {version}, and the lab is made for {dotted(oldest)} to {dotted(newest)}"
    if gpus.capabilities and not reaches_gpus:
        return f"its torch {version} does not reach the GPUs"
    if unserved := lacking(architectures, gpus.capabilities):
        return f"its torch {version} is not built for {unserved[0]}"
    return version, [(name, there) for name, there in packages]
