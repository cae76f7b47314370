"""The coding task: an exchange of one's own (lessons/build_your_own_ddp.py). Parity and speed mark it.

Its records come from `make my_exchange`: step 04 with the student's exchange, and with an all-reduce for each
parameter, in turn.
"""

import ast
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common.analysis.comparing.rows import Row
from common.analysis.comparing.speedup import speedup
from common.analysis.reading.runs import Run
from common.analysis.statistics.estimates import Estimate, outcome_of_ratio
from common.formats import plural

MINE, SLOW = "mine", "per-parameter"
FOR_PARITY, FOR_SPEED = 6, 4
"""Points."""
NOT_RIGHT = {"wrong": "parity failed", "unknown": "no parity check"}


@dataclass(frozen=True)
class TaskMark:
    """What the exchange is worth."""

    points: int
    reason: str
    ratio: Estimate | None = None
    """How many times as fast as the per-parameter exchange."""


def mark_exchange(runs: Sequence[Run], source: Path) -> TaskMark:
    """By the runs of one student, oldest first, and the file that they wrote.

    No record says which file it ran, so that the newest run stands for the one handed in: it must have passed parity,
    and speed is that of the runs since parity last failed.
    """
    if not is_filled_in(source):
        return TaskMark(0, "not filled in")
    mine = [(run, gradients) for run in runs if exchange_of(run) == MINE and (gradients := _gradients(run))]
    if not mine:
        return TaskMark(0, "never run with a parity check (make my_exchange)")
    wrong = [number for number, (_, gradients) in enumerate(mine) if gradients != "right"]
    if (newest := mine[-1][1]) != "right":
        where = "" if len(wrong) == len(mine) else " in the newest run"
        return TaskMark(0, f"{newest} gradients ({NOT_RIGHT[newest]}{where})")
    right = [run for run, _ in mine[wrong[-1] + 1 if wrong else 0 :] if run.is_comparable]
    note = f"; {plural(len(wrong), 'earlier run')} did not pass" if wrong else ""
    by_settings: dict[str, tuple[list[Run], list[Run]]] = defaultdict(lambda: ([], []))
    for run in [*right, *(run for run in runs if exchange_of(run) == SLOW and run.is_comparable)]:
        by_settings[_settings(run)][exchange_of(run) == SLOW].append(run)
    pairs = [(own, slow) for own, slow in by_settings.values() if own and slow]
    if not pairs:
        return TaskMark(FOR_PARITY, f"right gradients; no speed: no run beside it with --exchange {SLOW}{note}")
    own, slow = max(pairs, key=lambda pair: min(map(len, pair)))
    ratio = speedup(Row(own), Row(slow))
    outcome = outcome_of_ratio(ratio)
    points = FOR_PARITY + (FOR_SPEED if outcome == "faster" else 0)
    return TaskMark(points, f"right gradients; {outcome.replace('_', ' ')}{note}", ratio)


def _gradients(run: Run) -> str:
    """`right`, `wrong`, or `unknown` after a failure before the check; empty where a run says nothing: one device has
    nothing to compare, and who interrupts a run proves nothing."""
    if parity := run.record.parity:
        return {"passed": "right", "failed": "wrong"}.get(parity.outcome, "")
    return "unknown" if run.record.status == "failed" else ""


def exchange_of(run: Run) -> str:
    """What averages its gradients: `ddp`, torch's own, also where there is nothing to average."""
    return run.record.config.ddp.exchange if run.record.config.ddp else "ddp"


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
    statements = [node for one in functions for node in one.body if not isinstance(node, ast.Pass)]
    return any(not isinstance(node, ast.Expr) or isinstance(node.value, ast.Call) for node in statements)
