"""Runs scripts for `conftest.py` and `benchmarks/parting_soak.py`, in processes forked from this one.

A small run spends half its time on importing torch, or pandas. This process imports it once, computes nothing itself,
and forks for every order that it reads (JSON, one a line): one child, or one for each of `ranks`, which then find
around them what torchrun would have given them; or, with options for it, torchrun itself, which forks its ranks. A
child becomes the script, down to its exit; the answer, a line again, is the list of exit codes, that of the first to
end first. Of what trains little is imported before the fork, so that a test can plant a fault in the rest.

    script_server.py KIND       orders come from stdin, answers go to stdout
    script_server.py KIND FD    orders come from all who connect to this listening socket; ends after the last of them
"""

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
from pathlib import Path
from typing import TextIO

PRELOADED = {
    "training": ["rich.progress", "torch.distributed", "torch.profiler", "common.records", "common.machine.vision"],
    # No torchvision: it imports what a rank of step 04 imports once the ranks have met, and that order may matter.
    "torch": ["rich.progress", "torch.distributed"],
    # No test plants a fault in step 05: all of it.
    "analysis": [
        "common.analysis.comparing.comparison_csv",
        "common.analysis.page.figures",
        "common.analysis.page.report",
        "common.analysis.page.summary",
    ],
}


def register_few_layers():
    """One more model in torchvision's zoo: a run with the smallest of the others takes twice as long."""
    from torch import nn
    from torchvision.models._api import register_model

    def few_layers(weights=None, num_classes: int = 1000) -> nn.Module:
        convolutions = [nn.Conv2d(3, 16, 3, stride=2), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, stride=2)]
        return nn.Sequential(*convolutions, nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(5), nn.Flatten(),
                             nn.Linear(16 * 5 * 5, num_classes))  # fmt: skip

    few_layers.__module__ = "torchvision.models.few_layers"  # where the lab looks for models
    register_model()(few_layers)


sys.path[0] = str(Path(__file__).parents[1])
kind = sys.argv[1]
for name in PRELOADED[kind]:
    importlib.import_module(name)
if kind == "training":
    sys.modules["common.machine.vision"].import_torchvision()
    register_few_layers()

# What children import is compiled once for all of them, also where Python is told to leave no `__pycache__`.
sys.pycache_prefix, sys.dont_write_bytecode = f"{sys.path[0]}/.pytest_cache/compiled", False

gc.freeze()  # a collection in a child would touch, and so copy, every page that it shares with this process


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


def meeting_point(port: int):
    """The store that the ranks meet at. To be made after the fork: no child has the thread that serves it."""
    from torch.distributed import TCPStore

    return TCPStore("127.0.0.1", port, is_master=True, wait_for_workers=False)


def interrupt(child: int, output: str, after: str):
    """Ctrl-C once `after` stands in the output: to every process of the child's group, as a terminal does."""
    while after not in Path(output).read_text():
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return  # it has ended too early, which is for the test to find out
        time.sleep(0.05)
    os.killpg(child, signal.SIGINT)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def rank_variables(rank: int, ranks: int, port: int) -> dict[str, str]:
    """What torchrun sets for a rank on one node, and OMP_NUM_THREADS, which it sets unless it is there."""
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "ROLE_RANK": str(rank),
        "GROUP_RANK": "0",
        "WORLD_SIZE": str(ranks),
        "LOCAL_WORLD_SIZE": str(ranks),
        "ROLE_WORLD_SIZE": str(ranks),
        "GROUP_WORLD_SIZE": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCHELASTIC_RESTART_COUNT": "0",
        "TORCHELASTIC_MAX_RESTARTS": "0",
        "TORCHELASTIC_RUN_ID": "none",
    }


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


class Fork(subprocess.Popen):
    """A rank that torchrun starts as a copy of itself, for it has imported torch."""

    def _execute_child(self, args, executable, preexec_fn, close_fds, pass_fds, cwd, env, *more):
        self.pid = os.fork()
        if not self.pid:
            os.closerange(3, 256)  # torchrun's connections
            os.setsid()
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
                signal.signal(number, signal.SIG_DFL)
            signal.alarm(order["timeout"])  # torchrun's own does not pass on
            _, _, script, *arguments = args  # python -u
            become(script, arguments, env)
        self._child_created = True


def become_torchrun(options: list[str], script: str, arguments: list[str], env: dict[str, str]):
    """torchrun itself, for its restarts, its reports and its signals."""
    from torch.distributed.elastic.multiprocessing.subprocess_handler import SubprocessHandler

    SubprocessHandler._popen = lambda handler, args, env: Fork(args, env=env)
    become(importlib.import_module("torch.distributed.run").__file__, [*options, script, *arguments], env)


def enter(namespace: str, host: str):
    """Move this process into a network namespace, under a host name of its own."""
    libc = ctypes.CDLL(None, use_errno=True)  # from Python 3.12 on, os has both calls
    with open(f"/run/netns/{namespace}") as file:
        if libc.setns(file.fileno(), 0) or libc.unshare(0x04000000):  # CLONE_NEWUTS
            raise OSError(ctypes.get_errno(), f"cannot enter {namespace}")
    socket.sethostname(host)


def become(script: str, arguments: list[str], env: dict[str, str], own_exit: bool = False):
    """Run a script in this process, which ends with it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what started the tests may ignore both: nohup, `&`
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(env)
    tempfile.tempdir = None  # to be found anew, in this environment
    sys.argv = [script, *arguments]
    sys.orig_argv = [sys.executable, script, *arguments]
    sys.path[:1] = [str(Path(script).parent), *env.get("PYTHONPATH", "").split(os.pathsep)]
    if own_exit:
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


orders, answers = sys.stdin, sys.stdout
if len(sys.argv) > 2:
    orders = answers = next_client(socket.socket(fileno=int(sys.argv[2])))

for line in orders:
    order = json.loads(line)
    torchrun = order.get("torchrun")
    ranks = 0 if torchrun else order["ranks"]
    port, children = free_port(), []
    while len(children) < (ranks or 1):
        children.append(os.fork())
        if not children[-1]:
            break
    if not children[-1]:
        break
    store = meeting_point(port) if ranks else None
    if order.get("interrupt_after"):
        interrupt(children[0], order["stdout"], order["interrupt_after"])
    print(json.dumps(ends(children)), file=answers, flush=True)
    del store
else:
    os._exit(0)

# Only children come here.
if order.get("interrupt_after"):
    os.setpgid(0, 0)
if orders is not sys.stdin:
    orders.close()
os.dup2(os.open(os.devnull, os.O_RDWR), 0)
for number, path in enumerate([order["stdout"], order["stderr"]], start=1):
    os.dup2(os.open(path, os.O_RDWR | os.O_APPEND), number)
os.chdir(order["cwd"])
signal.alarm(order["timeout"])  # ends the child, or the program that it may turn itself into
script, *arguments = order["command"]
if order.get("node"):
    enter(*order["node"])
if torchrun:
    become_torchrun(torchrun, script, arguments, order["env"])
env = ({"OMP_NUM_THREADS": "1"} if ranks > 1 else {}) | order["env"]
become(script, arguments, env | (rank_variables(len(children) - 1, ranks, port) if ranks else {}), order["own_exit"])
