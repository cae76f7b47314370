"""Runs scripts for `conftest.py` and `benchmarks/`, each in a fork of this process, which has imported what they need.

A small run in a new interpreter spends most of its time on importing torch, or pandas. This process imports it once,
computes nothing itself, and forks for every order that it reads. A child becomes the script, down to its exit.

    script_server.py KIND       orders come from stdin, answers go to stdout
    script_server.py KIND FD    orders come from all who connect to this listening socket; ends after the last of them

An order is a line of JSON; the answer, a line again, is the list of exit codes, that of the first to end first:
    command           the script's absolute name, and its arguments
    ranks             0: one process, as `python` starts it. More: so many, which find what torchrun would have given
                      them, without torchrun
    torchrun          its options, if it is to start the ranks itself: it is forked, and so are they
    env, cwd, stdout, stderr, timeout (seconds)
    finalize          end as an interpreter of its own does, which takes longer
    node              a network namespace and a host name, to run under
    interrupt_after   Ctrl-C comes as soon as this stands in stdout
"""

import ast
import atexit
import ctypes
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

ROOT = Path(__file__).parents[1]
PRELOADED = {
    "training": ["rich.progress", "torch.distributed", "torch.profiler", "common.sentences"],
    # No torchvision: it imports what a rank of step 04 imports once the ranks have met, and that order may matter.
    "torch": ["rich.progress", "torch.distributed"],
    "analysis": ["common.campaigns.__main__"],
}
"""By kind of server; of the lab itself only what no test plants a fault in."""
SCRIPTS = {"training": "0[1-4]_*.py", "torch": "", "analysis": "05_*.py"}
"""What these import is imported, too."""
CLONE_NEWUTS = 0x04000000


def preload(kind: str) -> set[str]:
    """Import what this kind of script imports. Returns the modules that a fault may be planted in."""
    for name in PRELOADED[kind]:
        importlib.import_module(name)
    if kind == "training":
        sys.modules["common.sentences"].sentences("en")
    before = set(sys.modules)
    if SCRIPTS[kind]:
        import_as(sorted(ROOT.glob(SCRIPTS[kind])))
    if kind == "training":
        sys.modules["common.machine.libraries"].import_torchvision()
        register_few_layers()
    return {name for name in set(sys.modules) - before if name.startswith("common.")} if kind == "training" else set()


def import_as(scripts: Iterable[Path]) -> None:
    """Run every import of these scripts, wherever it stands in them."""
    for script in scripts:
        for node in ast.walk(ast.parse(script.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                exec(ast.unparse(node), {})


def register_few_layers() -> None:
    """One more model in torchvision's zoo: a run with the smallest of the others takes twice as long."""
    from torch import nn
    from torchvision.models._api import register_model

    def few_layers(weights=None, num_classes: int = 1000) -> nn.Module:
        convolutions = [nn.Conv2d(3, 16, 3, stride=2), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, stride=2)]
        return nn.Sequential(*convolutions, nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(5), nn.Flatten(),
                             nn.Linear(16 * 5 * 5, num_classes))  # fmt: skip

    few_layers.__module__ = "torchvision.models.few_layers"  # where the lab looks for models
    register_model()(few_layers)


# ------------------------------------------------------------------------------------------------ orders and answers


def next_client(listening: socket.socket) -> TextIO:
    """A client's connection, in a fork that serves it alone. The process that forks ends here, after the last."""
    while True:
        if select.select([listening], [], [], 1)[0]:
            connection, _ = listening.accept()
            if not os.fork():
                listening.close()
                with connection:
                    return connection.makefile("rw")
            connection.close()
            continue
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass  # a client has gone
        except ChildProcessError:
            os.unlink(listening.getsockname())
            os._exit(0)


def in_a_fork(order: dict, orders: TextIO) -> list[int]:
    """Have the ranks started by a process that ends when they have, as torchrun does: some wait for its end."""
    answer, end = os.pipe()
    child = os.fork()
    if not child:
        os.write(end, json.dumps(carry_out(order, orders)).encode())
        os._exit(0)
    os.close(end)
    with open(answer) as codes:
        text = codes.read()
    os.waitpid(child, 0)
    return json.loads(text)


def carry_out(order: dict, orders: TextIO) -> list[int]:
    """Start what is ordered, and wait for it; its exit codes."""
    ranks = 0 if order.get("torchrun") else order["ranks"]
    port, children = free_port(), []
    for rank in range(ranks or 1):
        children.append(os.fork())
        if not children[-1]:
            if orders is not sys.stdin:
                orders.close()
            become_what_is_ordered(order, rank_variables(rank, ranks, port) if ranks else {})
    store = meeting_point(port) if ranks else None
    if order.get("interrupt_after"):
        interrupt(children[0], order["stdout"], order["interrupt_after"])
    codes = ends(children)
    del store
    return codes


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def meeting_point(port: int):
    """The store that the ranks meet at. To be made after the fork: no child has the thread that serves it."""
    from torch.distributed import TCPStore

    return TCPStore("127.0.0.1", port, is_master=True, wait_for_workers=False)


def interrupt(child: int, output: str, after: str) -> None:
    """Ctrl-C once `after` stands in the output: to every process of the child's group, as a terminal does."""
    while after not in Path(output).read_text():
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return  # it has ended too early, which is for the test to find out
        time.sleep(0.05)
    os.killpg(child, signal.SIGINT)


def ends(children: list[int]) -> list[int]:
    """Exit codes in the order in which the children end. When one fails, the others are told to end, as by torchrun."""
    codes: dict[int, int] = {}
    while len(codes) < len(children):
        child, status = os.waitpid(-1, 0)
        codes[child] = os.waitstatus_to_exitcode(status)
        if codes[child]:
            for other in set(children) - codes.keys():
                os.kill(other, signal.SIGTERM)
    return list(codes.values())


# ------------------------------------------------------------------------------------------------ in a child


def become_what_is_ordered(order: dict, of_rank: dict[str, str]) -> None:
    """The script itself, in one process or as one of the ranks; or torchrun, which starts it."""
    if order.get("interrupt_after"):
        os.setpgid(0, 0)
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    for number, path in enumerate([order["stdout"], order["stderr"]], start=1):
        os.dup2(os.open(path, os.O_RDWR | os.O_APPEND), number)
    os.chdir(order["cwd"])
    signal.alarm(order["timeout"])  # ends the child, or the program that it may turn itself into
    if order.get("node"):
        enter(*order["node"])
    if order.get("torchrun"):
        become_torchrun(order)
    one_thread = (
        {"OMP_NUM_THREADS": "1"} if int(of_rank.get("WORLD_SIZE", 1)) > 1 else {}
    )  # torchrun's, unless it is set
    become(order["command"], one_thread | order["env"] | of_rank, order["finalize"])


def rank_variables(rank: int, ranks: int, port: int) -> dict[str, str]:
    """What torchrun sets for a rank on one node."""
    values = {
        **dict.fromkeys(["RANK", "LOCAL_RANK", "ROLE_RANK"], rank),
        **dict.fromkeys(["WORLD_SIZE", "LOCAL_WORLD_SIZE", "ROLE_WORLD_SIZE"], ranks),
        "GROUP_RANK": 0,
        "GROUP_WORLD_SIZE": 1,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "TORCHELASTIC_USE_AGENT_STORE": True,
        "TORCHELASTIC_RESTART_COUNT": 0,
        "TORCHELASTIC_MAX_RESTARTS": 0,
        "TORCHELASTIC_RUN_ID": "none",
    }
    return {name: str(value) for name, value in values.items()}


def become_torchrun(order: dict) -> None:
    """torchrun itself, for its restarts, its reports and its signals."""
    from torch.distributed.elastic.multiprocessing.subprocess_handler import SubprocessHandler

    class ForkedRank(subprocess.Popen):
        """A rank that torchrun starts as a copy of itself, for it has imported torch."""

        def _execute_child(self, args, executable, preexec_fn, close_fds, pass_fds, cwd, env, *more):
            self.pid = os.fork()
            if not self.pid:
                os.closerange(3, 256)  # torchrun's connections
                os.setsid()
                for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
                    signal.signal(number, signal.SIG_DFL)
                signal.alarm(order["timeout"])  # torchrun's own does not pass on
                become(args[2:], env)  # without `python -u`
            self._child_created = True

    SubprocessHandler._popen = lambda handler, args, env: ForkedRank(args, env=env)
    torchrun = importlib.import_module("torch.distributed.run").__file__
    become([torchrun, *order["torchrun"], *order["command"]], order["env"])


def enter(namespace: str, host: str) -> None:
    """Move this process into a network namespace, under a host name of its own."""
    libc = ctypes.CDLL(None, use_errno=True)  # from Python 3.12 on, os has both calls
    with open(f"/run/netns/{namespace}") as file:
        if libc.setns(file.fileno(), 0) or libc.unshare(CLONE_NEWUTS):
            raise OSError(ctypes.get_errno(), f"cannot enter {namespace}")
    socket.sethostname(host)


def become(command: list[str], env: dict[str, str], finalize: bool = False) -> None:
    """Run a script in this process, which ends with it."""
    script = command[0]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what started the tests may ignore both: nohup, `&`
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(env)
    tempfile.tempdir = None  # to be found anew, in this environment
    sys.argv = list(command)
    sys.orig_argv = [sys.executable, *command]
    sys.path[:1] = [str(Path(script).parent), *env.get("PYTHONPATH", "").split(os.pathsep)]
    if Path(script).parent != ROOT:  # not one of the lab's own, or a copy with a fault in it
        for name in plantable:
            sys.modules.pop(name, None)
    if finalize:
        # In the module of the program itself, as Python runs it: what it defines lives until the interpreter ends.
        gc.unfreeze()
        globals()["__file__"] = script
        exec(compile(Path(script).read_text(), script, "exec"), globals())
        sys.exit()
    code = 0
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
        code = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(code)  # Python's own way out takes as long as the import of torch did


if __name__ == "__main__":
    sys.path[0] = str(ROOT)
    plantable = preload(sys.argv[1])
    # What children import is compiled once for all of them, also where Python is told to leave no `__pycache__`.
    sys.pycache_prefix, sys.dont_write_bytecode = f"{ROOT}/.pytest_cache/compiled", False
    gc.freeze()  # a collection in a child would touch, and so copy, every page that it shares with this process
    orders, answers = sys.stdin, sys.stdout
    if len(sys.argv) > 2:
        orders = answers = next_client(socket.socket(fileno=int(sys.argv[2])))
    for line in orders:
        print(json.dumps(in_a_fork(json.loads(line), orders)), file=answers, flush=True)
    os._exit(0)
