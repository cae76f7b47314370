"""Functions in processes of their own, so that one that hangs or dies can do no harm to the caller.

A copy between GPUs can hang for ever on a badly set up host, and no thread of the same process could end it.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from multiprocessing import connection, get_context
from multiprocessing.connection import Connection
from time import monotonic
from typing import Any

from common.machine.workers import start_fork_server


class ProbeError(Exception):
    """A probe that gave no result; the message says what happened to it."""


def run_in_processes(function: Callable[[int], Any], ranks: int, limit_seconds: float) -> list[Any]:
    """`function(rank)` in `ranks` new processes at once; their results by rank.

    `function` is picklable and so is what it returns. Raises `ProbeError` as soon as one of them raises or dies, or
    when `limit_seconds` have passed; the others are ended then.
    """
    # forkserver: a child of this process could not use CUDA if this one has.
    start_fork_server()
    context = get_context("forkserver")
    processes, waiting = [], {}
    results: dict[int, Any] = {}
    deadline = monotonic() + limit_seconds
    try:
        for rank in range(ranks):
            receiver, sender = context.Pipe(duplex=False)
            processes.append(context.Process(target=_child, args=(function, rank, sender), daemon=True))
            processes[-1].start()
            sender.close()  # the child holds the other one: when it dies, the pipe ends
            waiting[receiver] = rank
        while waiting:
            ready = connection.wait(waiting, timeout=max(0.0, deadline - monotonic()))
            if not ready:
                raise ProbeError(f"not finished after {limit_seconds:.0f} s")
            for receiver in waiting.keys() & ready:
                rank = waiting.pop(receiver)
                try:
                    results[rank], error = receiver.recv()
                except EOFError:
                    processes[rank].join()
                    raise ProbeError(f"process {rank} died (exit code {processes[rank].exitcode})") from None
                if error:
                    raise ProbeError(error)
    finally:
        for process in processes:
            process.kill()
            process.join()
    return [results[rank] for rank in range(ranks)]


def _child(function: Callable[[int], Any], rank: int, sender: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches it, too; the parent answers it and ends its children
    try:
        sender.send((function(rank), None))
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        sender.send((None, f"{type(error).__name__}: {reason}" if reason else type(error).__name__))
