"""The coding task: an exchange of one's own (lessons/build_your_own_ddp.py). Parity and speed mark it.

Its records come from `make my_exchange`: step 04 with the student's exchange, and with an all-reduce for each
parameter, in turn.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common.analysis.comparing.speedup import speedup
from common.analysis.reading.runs import Run
from common.analysis.statistics.estimates import Estimate, outcome_of_ratio

MINE, SLOW = "mine", "per-parameter"
FOR_PARITY, FOR_SPEED = 6, 4
"""Points."""


@dataclass(frozen=True)
class TaskMark:
    """What the exchange is worth."""

    points: int
    reason: str
    ratio: Estimate | None = None
    """How many times as fast as the per-parameter exchange."""


@dataclass
class _Runs:
    runs: list[Run]


def mark_exchange(runs: Sequence[Run], source: Path) -> TaskMark:
    """By the runs of one student, and the file that they wrote."""
    if not is_filled_in(source):
        return TaskMark(0, "not filled in")
    mine = [run for run in runs if _exchange(run) == MINE and run.record.parity]
    if not mine:
        return TaskMark(0, "never run (make my_exchange)")
    wrong = sum(run.record.failed_parity for run in mine)
    if wrong == len(mine):
        return TaskMark(0, "wrong gradients (parity failed)")
    right = [run for run in mine if not run.record.failed_parity and run.is_comparable]
    note = f", {wrong} earlier runs with wrong gradients" if wrong else ""
    by_settings: dict[str, tuple[list[Run], list[Run]]] = defaultdict(lambda: ([], []))
    for run in [*right, *(run for run in runs if _exchange(run) == SLOW and run.is_comparable)]:
        by_settings[_settings(run)][_exchange(run) == SLOW].append(run)
    pairs = [(own, slow) for own, slow in by_settings.values() if own and slow]
    if not pairs:
        return TaskMark(FOR_PARITY, f"right gradients; no speed: no run beside it with --exchange {SLOW}{note}")
    own, slow = max(pairs, key=lambda pair: min(map(len, pair)))
    ratio = speedup(_Runs(own), _Runs(slow))
    found = outcome_of_ratio(ratio)
    points = FOR_PARITY + (FOR_SPEED if found == "faster" else 0)
    return TaskMark(points, f"right gradients; {found.replace('_', ' ')}{note}", ratio)


def _exchange(run: Run) -> str | None:
    return run.record.config.ddp.exchange if run.record.config.ddp else None


def _settings(run: Run) -> str:
    """Equal for runs that differ in the exchange alone."""
    record = run.record
    ddp = record.config.ddp and record.config.ddp.model_copy(update={"exchange": MINE})
    return record.config.model_copy(update={"ddp": ddp}).model_dump_json() + record.world.model_dump_json()


def is_filled_in(source: Path) -> bool:
    """Whether the class does anything: a function of the file as it was given has a docstring and nothing else."""
    try:
        tree = ast.parse(source.read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError):  # too many brackets, or no Python
        return False
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return any(not isinstance(node, ast.Expr | ast.Pass) or _is_call(node) for one in functions for node in one.body)


def _is_call(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
