"""Checkpoint 5: one change, one ratio; which switch to keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from common.analysis.comparing.facts import BATCH
from common.analysis.comparing.rows import ENOUGH_RUNS, Row
from common.analysis.sections.changes import Change
from common.analysis.sections.checkpoints.proofs import Checkpoint, Evidence, Proof, Quiz
from common.analysis.sections.ladder import height, outcome_of, what
from common.analysis.sections.options import Effect
from common.content import Message, message

MAX_FIGURES = 4
KEEP, DROP = ("kept", "faster"), ("slower", "failed")
"""Outcomes by which a switch stays or goes; with any other its interval leaves the question open."""
SWITCHES = {" --channels-last": "memory_format", " --fused-optimizer": "fused_optimizer"}
"""Ones that any machine can try, and the setting that each changes."""


@dataclass(frozen=True)
class Tried:
    """A switch, and what came of it."""

    what: Message | str
    outcome: str
    rounds: int
    """Runs with the switch and without it, whichever are fewer."""


def optimising(here: Evidence) -> Checkpoint:
    """Proven by two runs that differ in one thing, and by three rounds of such a pair."""
    tried, command = _tried(here), _in_turn(here)
    proofs = [
        Proof("one_change", bool(tried), [command]),
        Proof("in_rounds", any(one.rounds >= ENOUGH_RUNS for one in tried), [command]),
    ]
    figures = [height(here.ladder)] if here.ladder else []
    figures += [change.sentence for change in _changes(here)] + [effect.sentence() for effect in _effects(here)]
    return Checkpoint("optimising", proofs, figures[:MAX_FIGURES], [Quiz(message("quiz.keep"), _keep(tried))])


def _changes(here: Evidence) -> list[Change]:
    """Without the batches of DP and DDP: whoever has run weak and strong scaling has not tried them as a switch."""
    return [
        change for change in here.changes
        if change.pair.fact != BATCH["weak"] or not change.pair.after.is_parallel
    ]  # fmt: skip


def _effects(here: Evidence) -> list[Effect]:
    return [effect for results in here.results for effect in results.effects]


def _tried(here: Evidence) -> list[Tried]:
    trials = [Tried(what(trial), outcome_of(trial), _rounds(trial.row))
             for trial in (here.ladder.trials if here.ladder else [])]  # fmt: skip
    changed = [
        Tried(message("own.switch", what=change.what, row=change.effect.row.name), change.effect.outcome,
              _rounds(change.pair.before, change.pair.after))
        for change in _changes(here)
    ]  # fmt: skip
    options = [Tried(one.row.name.options, one.outcome, _rounds(one.row, one.other)) for one in _effects(here)]
    return [*trials, *changed, *options]


def _rounds(*rows: Row | None) -> int:
    return min(len(row.runs) if row else 0 for row in rows)


def _keep(tried: Sequence[Tried]) -> list[Message]:
    """What to keep, what to drop, and what nobody can tell yet; a switch that was tried twice is named once."""
    sorts: dict[str, list[Message | str]] = {"keep": [], "drop": [], "open": []}
    for one in tried:
        sorts["keep" if one.outcome in KEEP else "drop" if one.outcome in DROP else "open"].append(one.what)
    return [*(message(f"solution.{sort}", switches=of_sort) for sort, of_sort in sorts.items() if of_sort),
            message("solution.rule")]  # fmt: skip


def _in_turn(here: Evidence) -> str:
    """One switch in three rounds, in turn with the run without it."""
    config, one = here.model.config, here.command("single") + " --anatomy-steps 0"
    usual = {"memory_format": "channels_first", "fused_optimizer": False}
    free = [flag for flag, setting in SWITCHES.items() if getattr(config, setting) == usual[setting]]
    switch = free[0] if free else " --deterministic"
    return f"for round in 1 2 3; do {one}; {one}{switch}; done"
