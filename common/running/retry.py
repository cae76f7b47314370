"""--auto-accumulate: a run that goes out of memory starts anew, in a fresh process, with smaller micro-batches.

02 and 03 replace their process by a new one. Of 04's ranks torchrun starts new ones (`--max-restarts`), which learn
from torchrun's own store what the last attempt found out.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys

from torch.distributed import TCPStore

from common.command_line.options import TrainingOptions
from common.command_line.resolve import next_accumulation
from common.errors import UsageError
from common.records import METHODS, RunConfig, World

VARIABLE = "LAB_ACCUMULATION_STEPS"


def carried_over(options: TrainingOptions) -> int | None:
    """The accumulation steps that an earlier attempt of this run ended with; None in the first one.

    Raises `UsageError` under a torchrun that would not start the ranks again.
    """
    if not options.auto_accumulate:
        return None
    if METHODS[options.method].launcher == "python":
        steps = os.environ.get(VARIABLE)
        return int(steps) if steps else None
    if os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0") == "0":
        raise UsageError("--auto-accumulate under torchrun needs restarts: torchrun --max-restarts=5 …")
    store = _torchrun_store()
    return int(store.get(VARIABLE)) if store.check([VARIABLE]) else None


def try_next(config: RunConfig, world: World) -> None:
    """After a run out of memory: start the next attempt, or prepare it; returns where there is none to make."""
    steps = next_steps(config, world)
    if steps is None:
        return
    print(f"out of memory: starting anew with --accumulation-steps {steps}", file=sys.stderr, flush=True)
    if world.backend:
        _torchrun_store().set(VARIABLE, str(steps))
        return
    for worker in multiprocessing.active_children():  # the loader's: they would wait for this process for ever
        worker.terminate()
        worker.join()
    sys.stdout.flush()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)  # what is ignored stays ignored in the new program
    arguments = [sys.executable, *sys.orig_argv[1:]]
    os.execve(sys.executable, arguments, os.environ | {VARIABLE: str(steps)})


def next_steps(config: RunConfig, world: World) -> int | None:
    """The next larger number of accumulation steps with the same global batch; None where samples come one by one."""
    batch, devices = config.global_batch_size // world.processes, world.devices // world.processes
    return next_accumulation(batch, config.accumulation_steps, devices)


def _torchrun_store() -> TCPStore:
    return TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False, wait_for_workers=False)
