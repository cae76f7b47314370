"""How 02, 03 and 04 begin: the command line is read before torch is imported. This module imports no torch itself.

And how they begin anew: with --auto-accumulate, a run that goes out of memory starts again, in a fresh process, with
smaller micro-batches. 02 and 03 replace their process by a new one. Of 04's ranks torchrun starts new ones
(`--max-restarts`), which learn from torchrun's own store what the last attempt found out. And what they do on Ctrl-C,
SIGTERM and SIGHUP.
"""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from common.command_line.options import TrainingOptions, read_options, training_parser
from common.command_line.parser import start, under_torchrun
from common.command_line.resolve import next_accumulation
from common.errors import UsageError
from common.machine.before_torch import prepare_workers
from common.records import METHODS, Method, RunConfig, World

VARIABLE = "LAB_ACCUMULATION_STEPS"
REASONS = {
    signal.SIGTERM: "ended by SIGTERM: a person, or a batch system at its time limit, has ended this process",
    signal.SIGHUP: "ended by SIGHUP: the terminal was closed; start long runs under nohup, tmux or screen",
}
UNDER_TORCHRUN = (
    "ended by SIGTERM: torchrun passes it on when a person or a batch system has ended the job, and sends it to all "
    "ranks when one of them has died"
)
SIGNALS = (signal.SIGINT, *REASONS)
_heard: list[int] = []
"""Signals that came."""
_only_note = threading.Event()
"""Set while a signal must not raise anything."""


def start_training(train: Callable[[TrainingOptions], None], method: Method, description: str) -> NoReturn:
    """Read the command line and call a script's `train` with it; exits with 2 and one line where it makes no sense."""

    def main() -> None:
        options = read_options(training_parser(method, description))
        if options.threads == "kept":
            options = options.model_copy(update={"method": "dp_kept_threads"})
        prepare_workers()
        if method == "ddp":
            _train_ranks(train, options)
        else:
            train(options)

    start(main)


def _train_ranks(train: Callable[[TrainingOptions], None], options: TrainingOptions) -> None:
    """Call `train`, or with `--exchange` that of the lesson, so that torchrun reports the rank that fails first."""
    from common.machine.devices import of_torchrun

    of_torchrun("LOCAL_RANK", 0)
    from torch.distributed.elastic.multiprocessing import errors

    from common.training.distributed import meeting_errors_in_one_line

    if options.ddp and options.ddp.exchange != "ddp":
        from lessons import hand_built_ddp

        train = hand_built_ddp.train

    @errors.record  # writes an error into the file in which torchrun looks for it
    def train_rank() -> None:
        with meeting_errors_in_one_line():
            train(options)

    train_rank()


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


def _torchrun_store() -> Any:
    from torch.distributed import TCPStore

    return TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False, wait_for_workers=False)


def interrupt_on_signals() -> None:
    """From here on all of them raise KeyboardInterrupt. What nohup has ignored stays ignored."""
    _heard.clear()
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _interrupt)


def _interrupt(number: int, frame: object) -> None:
    _heard.append(number)
    if not _only_note.is_set():
        interrupt_if_unheard()


def interrupt_if_unheard() -> None:
    """Raise KeyboardInterrupt if a signal came, also one whose exception was lost: C code that was looking something up
    at that moment may swallow it, and the run would go on. For between two steps."""
    if not _heard:
        return
    reason = REASONS.get(signal.Signals(_heard[0]))
    if _heard[0] == signal.SIGTERM and under_torchrun():
        reason = UNDER_TORCHRUN
    raise KeyboardInterrupt(reason) if reason else KeyboardInterrupt


@contextmanager
def signals_wait() -> Iterator[None]:
    """While open, a signal is only noted; it counts when the `with` ends. For what must be whole, and does not hang."""
    _only_note.set()
    try:
        yield
    finally:
        _only_note.clear()
    interrupt_if_unheard()


def reason_of(error: BaseException) -> BaseException:
    """`error`, or the Ctrl-C that came before it: C code that an exception falls into may raise any other, and an
    exchange breaks when another rank has heard it first."""
    return KeyboardInterrupt() if signal.SIGINT in _heard else error


def ignore_signals() -> None:
    """For the last record: neither a second Ctrl-C nor a loader's worker that dies now must tear it."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler raises an error wherever the program is
