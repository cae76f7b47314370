"""Python in the lab's environment, which is found or made first: `python -m common.setup -m common.campaigns lab`.

It is the first of these: `.venv`; an active environment (VIRTUAL_ENV, CONDA_PREFIX) whose torch works, in which
missing packages are installed and nothing is up- or downgraded; a new `.venv`, with the newest torch that the driver
and the GPUs of this machine can run, and the versions of requirements.lock.
"""

from __future__ import annotations

import os
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

from common.setup.environments import Environment, Gpus, Torch, gpus_here, torch_in
from common.setup.installation import InstallationError, install, make
from common.setup.torch_builds import OLDEST_DRIVERS, torch_for

PROJECT, LOCK = Path("pyproject.toml"), Path("requirements.lock")
OWN = Environment(Path(".venv"))
SIZE = "about 3 GB to download and 6 GB on the disk, or 0.3 and 1 GB where the package index has a build for CPUs alone"


def main(arguments: Sequence[str]) -> int:
    """Arguments are Python's, after `--extra NAME` for each extra of pyproject.toml that is needed, too."""
    extras, rest = [], list(arguments)
    while rest[:1] == ["--extra"]:
        extras.append(rest[1])
        del rest[:2]
    try:
        python = prepared(extras).python
    except InstallationError as error:
        print(f"error: {error}; what it said stands above", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the next make begins the installation anew", file=sys.stderr)
        return 130
    os.execv(python, [str(python), *rest])


def prepared(extras: Sequence[str]) -> Environment:
    """An environment with all that the lab needs. Raises InstallationError."""
    since = PROJECT.stat().st_mtime
    active = [Environment(Path(os.environ[name])) for name in ("VIRTUAL_ENV", "CONDA_PREFIX") if os.environ.get(name)]
    if OWN.is_ready(extras, since):
        return OWN
    gpus = gpus_here()
    for environment in (OWN, *active):
        if environment.is_ready(extras, since):
            return environment
        if environment.python.exists() and _completed(environment, extras, gpus):
            return environment
    _make_new(extras, gpus)
    return OWN


def _completed(environment: Environment, extras: Sequence[str], gpus: Gpus) -> bool:
    """Install what is missing beside a torch that works. False where it does not, or where something else than torch
    would have to change."""
    torch = torch_in(environment)
    unusable = torch.lacks(gpus) if isinstance(torch, Torch) else torch
    if unusable or not isinstance(torch, Torch):
        print(f"{environment.folder} is not used: {unusable}.", flush=True)
        return False
    print(f"Environment: {environment.folder}, with its torch {torch.version}. What the lab lacks there is installed; "
          "nothing is up- or downgraded.", flush=True)  # fmt: skip
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as there:
        there.write("".join(f"{name}=={version}\n" for name, version in torch.packages))
        there.flush()
        try:
            install(environment, requirements(extras), Path(there.name))
        except InstallationError as error:
            print(f"{environment.folder} is not used: the lab does not go with what is there ({error}).", flush=True)
            return False
    environment.mark_ready(extras)
    return True


def _make_new(extras: Sequence[str], gpus: Gpus) -> None:
    fit = torch_for(*gpus)
    driver, models = gpus.driver, ", ".join(sorted({f"sm_{one.replace('.', '')}" for one in gpus.capabilities}))
    if not gpus.capabilities:
        why = "any torch runs on CPU cores; NVIDIA GPUs were not found"
    elif fit:
        why = f"driver {driver} and {models} run {fit}"
    else:
        why = f"driver {driver} and {models} run no torch of the lab, CUDA 12 asks for {OLDEST_DRIVERS[12]}: CPU cores"
    chosen = fit.requirement if fit else "torch"
    print(f"Environment: a new {OWN.folder} with the newest {chosen} ({why}): {SIZE}.", flush=True)
    make(OWN)
    needed = [chosen, *requirements(extras)]
    try:
        install(OWN, needed, LOCK)
    except InstallationError as error:
        print(f"With the versions of {LOCK} it does not work ({error}); once more without them.", flush=True)
        install(OWN, needed, None)
    OWN.mark_ready(extras)


def requirements(extras: Sequence[str]) -> list[str]:
    """What pyproject.toml lists."""
    project = tomllib.loads(PROJECT.read_text())["project"]
    return [*project["dependencies"], *(one for extra in extras for one in project["optional-dependencies"][extra])]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
