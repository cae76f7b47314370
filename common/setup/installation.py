"""Packages into an environment, by uv where it is installed, else by pip, with word of how far it is."""

import fcntl
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from common.setup.environments import Packages, PythonEnvironment, numbers_of

LOCK = Path("requirements.lock")
TURN = Path(".venv.lock")
"""Who installs holds it."""
EVERY_SECONDS = 20
MB = 10**6


class InstallationError(Exception):
    """No installer could do it. The message is one line."""


class EnvironmentKeptError(InstallationError):
    """An environment stays as it is, and the lab does not run in it. The message says what to do."""


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """While it lasts, nobody else installs for this folder; where files cannot be locked, nobody is waited for."""
    with ExitStack() as held:
        with suppress(OSError):
            file = held.enter_context(TURN.open("a"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"waiting for another installation ({TURN.absolute()})", flush=True)
                fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def made_anew(environment: PythonEnvironment) -> Iterator[None]:
    """A new environment, to be filled in the `with`. What the lab made there before lies beside it meanwhile: it comes
    back after a failure, else it is deleted.

    Raises InstallationError, and EnvironmentKeptError where the old one cannot be moved."""
    folder, is_replaced = environment.folder, os.path.lexists(environment.folder)
    old = PythonEnvironment(folder.with_name(f"{folder.name}.old"))
    if is_replaced:
        if os.path.lexists(old.folder) and not old.made.exists():
            raise EnvironmentKeptError(f"{folder} is to be kept as {old.folder} meanwhile: move away what lies there")
        try:
            _delete(old.folder)
            folder.rename(old.folder)
        except OSError as error:
            raise EnvironmentKeptError(f"{folder} cannot be moved ({error}): remove it yourself") from error
    # As venv takes it: the Python that runs this may lie in the folder.
    python = getattr(sys, "_base_executable", sys.executable)
    try:
        _run_one_of([["uv", "venv", "--quiet", "--seed", "--python", python, str(folder)],
                     [python, "-m", "venv", str(folder)]])  # fmt: skip
        environment.made.touch()
        yield
    except BaseException:
        if is_replaced or not environment.made.exists():  # without the mark it would be taken for someone else's
            _delete(folder)
        if is_replaced:
            old.folder.rename(folder)
        raise
    if old.made.exists():  # also one that a killed installation left
        _delete(old.folder)


def _delete(folder: Path) -> None:
    if folder.is_symlink():
        folder.unlink()
    else:
        shutil.rmtree(folder, ignore_errors=True)


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


def not_there(requirements: list[str], there: Packages) -> list[str]:
    """The requirements, such as `pandas>=2.2,<3`, that no package there meets, or whose bounds only pip understands."""
    versions = {_normal(name): numbers_of(version) for name, version in there}

    def is_met(requirement: str) -> bool:
        name = re.split("[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
        version = versions.get(_normal(name))
        bounds = [part.strip() for part in requirement.removeprefix(name).split(",") if part.strip()]
        return version is not None and all(
            version >= numbers_of(bound) if bound.startswith(">=") else bound[0] == "<" and version < numbers_of(bound)
            for bound in bounds
        )

    return [one for one in requirements if not is_met(one)]


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
            with suppress(OSError):
                size += os.lstat(os.path.join(parent, name)).st_size
    return size
