"""Python in the lab's environment, which is found or made first: `python -m common.setup -m common.campaigns lab`.

It is the first of these: `.venv`; an active environment (VIRTUAL_ENV, CONDA_PREFIX) whose torch works, in which
missing packages are installed and nothing is up- or downgraded; a new `.venv`, with the newest torch that the driver
and the GPUs of this machine can run, and the versions of requirements.lock. A `.venv` is replaced only if the lab made
it, its torch does not work and it is not active.
"""

import os
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.setup.environments import OLDEST_DRIVERS, Gpus, PythonEnvironment, gpus_here, torch_for, usable_torch
from common.setup.installation import (
    EnvironmentKeptError,
    InstallationError,
    install,
    made_anew,
    not_there,
    one_at_a_time,
)

PROJECT = Path("pyproject.toml")
OWN = PythonEnvironment(Path(".venv"))
SIZE = "about 3 GB to download and 6 GB on the disk"


def start_python(arguments: Sequence[str]) -> int:
    """Arguments are Python's, after `--extra NAME` for each extra of pyproject.toml that is needed, too."""
    extras, rest = [], list(arguments)
    while rest[:1] == ["--extra"]:
        extras += rest[1:2] or [""]
        del rest[:2]
    known = _project()["optional-dependencies"] if extras else {}
    if unknown := [extra for extra in extras if extra not in known]:
        print(f"error: --extra {unknown[0]}: give one of pyproject.toml's: {', '.join(known)}", file=sys.stderr)
        return 2
    try:
        python = prepared(extras).python
    except EnvironmentKeptError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except InstallationError as error:
        print(f"error: {error}; what it said stands above", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the next make starts the installation again", file=sys.stderr)
        return 130
    os.execv(python, [str(python), *rest])


def prepared(extras: Sequence[str]) -> PythonEnvironment:
    """An environment with all that the lab needs. Raises InstallationError."""
    since = PROJECT.stat().st_mtime
    if OWN.is_ready(extras, since):
        return OWN
    with one_at_a_time():
        gpus = gpus_here()
        for environment in (OWN, *(one for place, one in _active().items() if place != OWN.folder.resolve())):
            if environment.is_ready(extras, since):  # of OWN: after another's installation
                return environment
            if environment.python.exists() and _completed(environment, extras, gpus):
                return environment
        _make_new(extras, gpus)
    return OWN


def _active() -> dict[Path, PythonEnvironment]:
    """By where they really are."""
    folders = map(Path, filter(None, map(os.environ.get, ("VIRTUAL_ENV", "CONDA_PREFIX"))))
    return {folder.resolve(): PythonEnvironment(folder) for folder in folders}


def _completed(environment: PythonEnvironment, extras: Sequence[str], gpus: Gpus) -> bool:
    """Install what is missing beside a torch that works. False where it does not, or where something else than torch
    would have to change."""
    torch = usable_torch(environment, gpus)
    if isinstance(torch, str):
        print(f"{environment.folder} is not used: {torch}.", flush=True)
        return False
    version, there = torch
    missing = not_there(requirements(extras), there)
    todo = f"Missing, and installed now: {', '.join(missing)}" if missing else "All that the lab needs is there"
    print(f"Environment: {environment.folder}, with its torch {version}. {todo}; nothing is up- or downgraded.",
          flush=True)  # fmt: skip
    try:
        if missing:
            install(environment, missing, there)
    except InstallationError as error:
        if environment is OWN:
            raise EnvironmentKeptError(
                f"{OWN.folder} stays as it is, its torch works; what the lab lacks there could not be installed "
                f"({error}, what it said stands above): try again when that is cured, or remove {OWN.folder} "
                "for a new one"
            ) from error
        print(f"{environment.folder} is not used: the lab does not go with what is there ({error}).", flush=True)
        return False
    environment.mark_ready(extras)
    return True


def _make_new(extras: Sequence[str], gpus: Gpus) -> None:
    if os.path.lexists(OWN.folder):
        todo = []
        if OWN.folder.resolve() in _active():
            todo.append("deactivate it")
        if not OWN.made.exists():
            todo.append(f"rm -r {OWN.folder}")
        if todo:
            raise EnvironmentKeptError(
                f"{OWN.folder} does not serve the lab, and stays, for it is active or not of the lab's making: "
                f"{' and '.join(todo)}, and the next make makes a new one"
            )
    fit = torch_for(*gpus)
    driver, models = gpus.driver, ", ".join(sorted({f"sm_{one.replace('.', '')}" for one in gpus.capabilities}))
    if fit and gpus.capabilities:
        what = f"the newest of {fit}, which driver {driver} and {models} run"
    elif fit:
        what = f"the newest of {fit}, which CPU cores run, too: no NVIDIA GPUs were found"
    else:
        oldest = OLDEST_DRIVERS[12]
        what = f"the newest torch, for CPU cores: none runs on driver {driver} and {models}, CUDA 12 asks for {oldest}"
    print(f"Environment: a new {OWN.folder} with {what}. That is {SIZE}.", flush=True)
    with made_anew(OWN):
        install(OWN, [fit.requirement if fit else "torch", *requirements(extras)], [])
        OWN.mark_ready(extras)


def requirements(extras: Sequence[str]) -> list[str]:
    """What pyproject.toml lists."""
    project = _project()
    return [*project["dependencies"], *(one for extra in extras for one in project["optional-dependencies"][extra])]


def _project() -> dict[str, Any]:
    return tomllib.loads(PROJECT.read_text())["project"]


if __name__ == "__main__":
    sys.exit(start_python(sys.argv[1:]))
