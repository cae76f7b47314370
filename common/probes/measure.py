"""All probes, one after the other. One that fails loses its own rows and says why; the rest goes on."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import perf_counter

import torch

from common.probes import all_reduce, compute, together
from common.probes.compute import run_in_processes
from common.records import ProbeName, Probes
from common.step_01 import NEEDLESS

LIMIT_SECONDS = 60.0
"""A probe that takes longer hangs, and is ended."""

Action = Callable[[], object]


def plan() -> tuple[dict[ProbeName, Action], dict[ProbeName, str]]:
    """The probes that mean something on this machine, and for the others why they do not."""
    gpus, ranks = torch.cuda.device_count() if torch.cuda.is_available() else 0, all_reduce.ranks_here()
    actions: dict[ProbeName, Action] = {
        "matmul": partial(_alone, compute.matmul_rates),
        "memory": partial(_alone, compute.memory_rates),
        "copies": partial(_alone, compute.copies),
        "all_reduce": partial(all_reduce.measure_all_reduce, ranks, LIMIT_SECONDS),
        "launches": partial(together.measure_launches, LIMIT_SECONDS),
        "together": partial(together.measure_together, ranks, LIMIT_SECONDS),
    }
    needless: set[ProbeName] = set() if gpus else {"copies"}
    if ranks < 2:
        needless |= {"all_reduce", "together"}
    not_applicable = {name: NEEDLESS[name].text for name in actions if name in needless}
    return {name: action for name, action in actions.items() if name not in needless}, not_applicable


def measure(
    announce: Callable[[ProbeName], object], actions: dict[ProbeName, Action], not_applicable: dict[ProbeName, str]
) -> Probes:
    """Run the probes of a `plan`, each announced as it starts. Nothing that one raises comes out, nor Ctrl-C."""
    started = perf_counter()
    results: dict[ProbeName, object] = {}
    failed: dict[ProbeName, str] = {}
    try:
        for name, action in actions.items():
            announce(name)
            try:
                results[name] = action()
            except Exception as error:
                failed[name] = str(error) or type(error).__name__
    except KeyboardInterrupt:  # Ctrl-C ends the measurements, and what there is still gets into the record
        failed |= {name: "interrupted" for name in actions if name not in results | failed}
    seconds = perf_counter() - started
    return Probes.model_validate({"seconds": seconds, **results, "not_applicable": not_applicable, "failed": failed})


def _alone(probe: Callable[[int], object]) -> object:
    return run_in_processes(probe, 1, LIMIT_SECONDS)[0]
