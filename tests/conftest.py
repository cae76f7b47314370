"""What the tests share: the scripts as subprocesses, and one small run of each of them."""

import fcntl
import gc
import json
import os
import pickle
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, TextIO

import pytest

os.environ["LC_ALL"] = "C.UTF-8"  # the tests read English, wherever they are run
os.environ["LAB_QUEUE"] = "no"  # campaigns of tests wait for nobody

ROOT = Path(__file__).parents[1]
TEST_RUN = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))  # the same in all of pytest's processes
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
TWO_RANKS = ["--standalone", "--nproc_per_node=2"]  # for `torchrun`
TWO_RANKS_RESTARTED = [*TWO_RANKS, "--max-restarts=3"]

# `few_layers` is the script server's: scripts that are started in another way, those on GPUs say, train SQUEEZENET.
SMALL = ["--model", "few_layers", "--image-size", "32", "--samples-per-epoch", "64", "--epochs", "2"]
SMALL += ["--anatomy-steps", "0"]  # a later one on the command line overrides it
SQUEEZENET = [*SMALL, "--model", "squeezenet1_1"]
# Parameters of `few_layers`: two convolutions with biases, two batch norms, and a layer for 1000 classes.
FEW_LAYERS_PARAMETERS = (3 * 9 + 1) * 16 + (16 * 9 + 1) * 16 + 2 * 2 * 16 + (16 * 5 * 5 + 1) * 1000
# Its loss falls at once.
LEARNING = [*SMALL, "--lr", "0.02"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What all processes would wait for comes first, while each has something else to do."""
    items.sort(key=lambda item: item.path.name != "test_document_figures.py")


def pytest_collection_finish() -> None:
    """What is imported by now stays to the end: no collection of garbage goes through it, and pytest makes many."""
    gc.freeze()


def environment(**changes: str) -> dict[str, str]:
    """This process's environment, without a torchrun that may have started it."""
    kept = {name: value for name, value in os.environ.items() if name not in ("RANK", "LOCAL_RANK", "WORLD_SIZE")}
    return kept | {"CUDA_VISIBLE_DEVICES": ""} | changes


def run_script(
    name: str,
    *arguments: object,
    ranks: int = 0,
    env: dict[str, str] | None = None,
    new_interpreter: bool = False,
    timeout: int = 240,
    **how: object,
) -> subprocess.CompletedProcess:
    """Run a script of the lab on CPU cores, in `ranks` processes if there are any; its output is returned as text.

    There are three ways to start it. Two fork a process that has imported torch already, for speed
    (`script_server.py`, whose orders are `how`): the ranks find what torchrun would have given them, or with
    `torchrun`, its options, are started by a torchrun that is forked, too. Where the start itself matters, Python is
    started, or torchrun with `ranks`: as `new_interpreter`, where `env` changes what Python can import, and for CUDA.
    """
    env = env or environment()
    command = [str(ROOT / name), *map(str, arguments)]  # an absolute name stays what it is
    imports_as_here = env.get("PYTHONPATH") == os.environ.get("PYTHONPATH")
    if new_interpreter or not imports_as_here or env.get("CUDA_VISIBLE_DEVICES") != "":
        starter = [*TORCHRUN, f"--nproc_per_node={ranks}"] if ranks else [sys.executable]
        command = [*starter, *command]
        return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=timeout)
    return run_in_fork("training", command, env=env, ranks=ranks, timeout=timeout, **how)


def run_worker(name: str, *arguments: object, ranks: int, finalize: bool = False) -> subprocess.CompletedProcess:
    """Run a program of tests/workers in `ranks` forked processes; it finds the lab and its tests."""
    command = [str(ROOT / "tests" / "workers" / name), *map(str, arguments)]
    env = environment(PYTHONPATH=os.pathsep.join([str(ROOT), str(ROOT / "tests")]))
    return run_in_fork("training", command, env=env, ranks=ranks, finalize=finalize)


def run_step_05(
    folder: Path,
    *arguments: object,
    env: dict[str, str] | None = None,
    script: Path = ROOT / "05_performance_comparison.py",
) -> subprocess.CompletedProcess:
    """Run step 05 in `folder`, forked from a process that has imported pandas and the like."""
    command = [str(script), *map(str, arguments)]
    return run_in_fork("analysis", command, env=env or dict(os.environ), cwd=str(folder))


@pytest.fixture
def run_comparison(tmp_path):
    """Run step 05 in `tmp_path`."""
    return partial(run_step_05, tmp_path)


def run_in_fork(kind: str, command: list[str], **how: object) -> subprocess.CompletedProcess:
    """Have the script server of a kind run this; `how` is more of its order. The processes that are `left` after
    their command has ended are returned, too."""
    server = _script_server(kind, threading.get_ident())
    with tempfile.NamedTemporaryFile("r+") as stdout, tempfile.NamedTemporaryFile("r+") as stderr:
        order = {"command": command, "cwd": str(ROOT), "ranks": 0, "finalize": False, "timeout": 240}
        order |= {"stdout": stdout.name, "stderr": stderr.name} | how
        print(json.dumps(order), file=server, flush=True)
        try:
            codes = json.loads(server.readline())
        except BaseException:  # Ctrl-C, or pytest's own time limit: the next script gets a server that is not busy
            server.close()
            _script_server.cache_clear()
            raise
        left = _processes_that_write_to(stderr.name)
        process = subprocess.CompletedProcess(command, next(filter(None, codes), 0), stdout.read(), stderr.read())
        process.left = left
        return process


def _processes_that_write_to(output: str, patience: float = 20.0) -> list[int]:
    """Those that still do once those that are about to end have ended.

    Forked as they are, they have the command line and the environment of the server, whatever they run.
    """
    until = time.monotonic() + patience
    while left := [int(name) for name in os.listdir("/proc") if name.isdigit() and _stderr_of(name) == output]:
        if time.monotonic() > until:
            break
        time.sleep(0.05)
    return left


def _stderr_of(process: str) -> str:
    try:
        return os.readlink(f"/proc/{process}/fd/2")
    except OSError:  # the process has ended meanwhile
        return ""


@cache
def _script_server(kind: str, thread: int) -> TextIO:
    """A connection to the one server of a kind that all of pytest's processes share; it ends when the last has gone.

    Whoever needs it first starts it, and need not wait: a socket takes connections before its program accepts them.
    """
    program = ROOT / "tests" / "script_server.py"
    address = f"{tempfile.gettempdir()}/lab-{TEST_RUN[:8]}-{kind}"
    connection = socket.socket(socket.AF_UNIX)
    with open(program) as lock, connection, socket.socket(socket.AF_UNIX) as listening:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            connection.connect(address)
        except (FileNotFoundError, ConnectionRefusedError):  # refused: left by a server that was killed
            Path(address).unlink(missing_ok=True)
            listening.bind(address)
            listening.listen(64)
            connection.connect(address)
            command = [sys.executable, str(program), kind, str(listening.fileno())]
            subprocess.Popen(command, env=environment(), stdin=subprocess.DEVNULL, pass_fds=[listening.fileno()])
        return connection.makefile("rw")


def planted(folder: Path, script: str, code: str) -> Path:
    """A copy of a script in `folder` that runs `code` before it begins: to plant a fault.

    A `train_step` of its own takes the script's place. Called with two arguments it is in a measured epoch.
    """
    copy = folder / script
    definitions, main, start = (ROOT / script).read_text().rpartition('if __name__ == "__main__":')
    head, first_path, rest = definitions.partition("sys.path.insert(")
    copy.write_text(f"{head}sys.path.insert(0, {str(ROOT)!r})\n{first_path}{rest}{code}\n\n{main}{start}")
    return copy


def records_in(folder: Path) -> list[dict]:
    """Every record in a folder, as plain JSON, in the order in which they were written."""
    paths = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    return [json.loads(path.read_text()) for path in paths]


@pytest.fixture
def short_folder():
    """A folder for temporary files, where the names of sockets stay below their limit of 107 characters."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.fixture
def full_disk(tmp_path):
    """A folder on a file system of its own, with room for one small file."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4k", "lab-test", folder], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a small disk (needs root): {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """Make something once for all of pytest's processes: `once(name, make)` is what `make(folder)` gave.

    Whichever of them needs it first makes it; nobody changes what lies in the folder.
    """
    run = tmp_path_factory.getbasetemp().parent / f"once-{TEST_RUN}"

    def made_once(name: str, make: Callable[[Path], Any]) -> Any:
        folder = run / name
        folder.mkdir(parents=True, exist_ok=True)
        with open(run / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            done = run / f"{name}.done"
            if not done.exists():
                done.write_bytes(pickle.dumps(make(folder)))
            return pickle.loads(done.read_bytes())

    return made_once


@pytest.fixture(scope="session")
def small_lab(once):
    """Steps 02, 03 and 04 run once on two devices: (results folder, {step: completed process}). Not to be changed."""
    return once("lab", lambda folder: (folder, _steps_in_turn(folder)))


def _steps_in_turn(folder: Path) -> dict[str, subprocess.CompletedProcess]:
    where = ["--anatomy-steps", 2, "--results-dir", folder]
    done = {
        "02": run_script("02_baseline_single_gpu.py", *LEARNING, "--batch-size", 8, *where),
        "03": run_script("03_dataparallel_training.py", *LEARNING, "--batch-size", 16, "--gpus", "0,1", *where),
        "04": run_script("04_ddp_training.py", *LEARNING, "--batch-size", 8, *where, ranks=2),
    }
    for step, process in done.items():
        assert process.returncode == 0, f"step {step}:\n{process.stdout}\n{process.stderr}"
    return done
