"""Packages into an environment, by uv where it is installed, else by pip, with word of how far it is."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.setup.environments import Packages, PythonEnvironment

LOCK = Path("requirements.lock")
EVERY_SECONDS = 20
MB = 10**6


class InstallationError(Exception):
    """No installer could do it. The message is one line."""


def make(environment: PythonEnvironment) -> None:
    """A new environment, in place of what may lie there. Raises InstallationError."""
    python = getattr(
        sys, "_base_executable", sys.executable
    )  # as venv takes it: the Python that runs this may lie in the folder
    shutil.rmtree(environment.folder, ignore_errors=True)
    _run_one_of([["uv", "venv", "--quiet", "--seed", "--python", python, str(environment.folder)],
                 [python, "-m", "venv", str(environment.folder)]])  # fmt: skip


def install(environment: PythonEnvironment, requirements: list[str], there: Packages) -> None:
    """Leave what is `there` as it is, and take the versions of requirements.lock for the rest, if that can be.

    Raises InstallationError, with the installer's own last words on the screen."""
    kept = [f"{name}=={version}" for name, version in there]
    names = {_normal(name) for name, _ in there}
    locked = [
        line for line in LOCK.read_text().splitlines() if "==" in line and _normal(line.split("==")[0]) not in names
    ]
    try:
        _install(environment, requirements, [*kept, *locked])
    except InstallationError as error:
        print(f"With the versions of {LOCK} it does not work ({error}); once more without them.", flush=True)
        _install(environment, requirements, kept)


def _install(environment: PythonEnvironment, requirements: list[str], constraints: list[str]) -> None:
    python = str(environment.python)
    with tempfile.TemporaryDirectory() as folder, _progress(environment.folder):
        path = Path(folder, "constraints.txt")
        path.write_text("".join(f"{line}\n" for line in constraints))
        what = ["--constraint", str(path), *requirements]
        _run_one_of([["uv", "pip", "install", "--python", python, *what], [python, "-m", "pip", "install", *what]])


def _normal(name: str) -> str:
    """As PEP 503 compares names."""
    return re.sub("[-_.]+", "-", name).strip().lower()


def _run_one_of(commands: list[list[str]]) -> None:
    """The first whose program is there and that succeeds: what pip can, uv may not, with an index set for pip alone."""
    for command in (command for command in commands if shutil.which(command[0])):
        print("  " + shlex.join(command), flush=True)
        code = subprocess.run(command, env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}).returncode
        if code == 0:
            return
    raise InstallationError(f"{shlex.join(command[:3])} ended with exit code {code}")


@contextmanager
def _progress(folder: Path) -> Iterator[None]:
    """While it lasts: a line now and then with the size of what is installed, as long as it grows. Installers show
    their downloads; unpacking several GB they are silent."""
    ended = threading.Event()

    def watch() -> None:
        before = _size(folder)
        while not ended.wait(EVERY_SECONDS):
            if (now := _size(folder)) > before:
                print(f"  {now / MB:,.0f} MB installed in {folder} …", flush=True)
            before = now

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def _size(folder: Path) -> int:
    """Bytes of all files in it; those that vanish meanwhile are passed over."""
    size = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                size += os.lstat(os.path.join(parent, name)).st_size
            except OSError:
                continue
    return size
