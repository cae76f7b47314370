"""Checkpoints 4 and 5: a choice predicted and then measured; one change and its ratio."""

from collections.abc import Sequence
from dataclasses import dataclass

from common.analysis.comparing.facts import BATCH
from common.analysis.comparing.rows import Row
from common.analysis.comparing.speedup import ENOUGH_RUNS
from common.analysis.sections.changes import Change, Effect, changed, height
from common.analysis.sections.checkpoints.proofs import PROBE, Checkpoint, Evidence, Proof, Quiz
from common.analysis.sections.crossover import prediction_of
from common.content import Message, message
from common.records import Method

NEAR = 0.05
"""A prediction that is off by less has not failed."""


def choice(here: Evidence) -> Checkpoint:
    """Proven by predictions that were asked for before a person's own runs, and by a ratio that decides."""
    crossings = [crossover for crossover in here.crossovers if crossover.predicted]
    predictions = [results.prediction for results in here.results if results.prediction]
    made = [one for prediction in predictions for one in prediction.forecasts if one.devices > 1]
    known = [one for one in made if one.error is not None]
    first = [*_before_predicting(here), f"python 05_performance_comparison.py --predict {here.devices}"]
    proofs = [Proof(f"{method}_error", _is_foreseen(here, method), [*first, here.command(method)],
                    message("proof_hint.predict")) for method in ("ddp", "dp")]  # fmt: skip
    more = [] if here.decision.choice == "one_device" else [here.next_step.command]
    proofs.append(Proof("chosen", here.decision.is_settled, more))
    figures = [
        message(
            "own.predicted",
            row=one.name,
            predicted=one.step.seconds,
            measured=one.measured_step,
            error=one.error,
            naive=one.naive_error,
        )
        for one in known
    ]
    quizzes = [
        Quiz(message("quiz.bandwidth"), _bandwidth(here)),
        Quiz(message("quiz.choose"), _choose(here)),
    ]
    return Checkpoint("choice", proofs, [*figures, *(prediction_of(crossing) for crossing in crossings)], quizzes)


def _is_foreseen(here: Evidence, method: Method) -> bool:
    """Whether step 05 was asked to predict what a person then ran to its end."""
    runs = [run for run in here.by_hand if run.method == method and run.status == "completed"]
    return any(step.is_of(run) and prediction.started_at <= run.started_at
               for prediction in here.folder.predictions for step in prediction.steps for run in runs)  # fmt: skip


def _before_predicting(here: Evidence) -> list[str]:
    """What a prediction starts from, as far as it is not there: step 01's measurements, and one device's steps."""
    probed = here.probes("all_reduce") and here.probes("together") and here.probes("launches")
    single = here.row("single", lambda row: row.profile and row.profile.gradients and row.profile.replicate)
    return [*([] if probed else [PROBE]), *([] if single else [here.command("single")])]


def _bandwidth(here: Evidence) -> list[Message]:
    """DP's step as the bytes alone predict it: the ideal step, and the bytes over the link that step 01 measured."""
    every = (breakdown for results in here.results for breakdown in results.breakdowns)
    dp = next((breakdown for breakdown in every if breakdown.row.method == "dp"), None)
    if dp is None:
        return [message("solution.bandwidth_not_measured")]
    over_link = dp.over_link if dp.row.on_gpu else 0.0  # nothing is copied between CPU cores
    if over_link is None:
        return [message("solution.bandwidth_not_measured")]
    predicted, measured = dp.ideal.value + over_link, dp.measured.value
    error = predicted / measured - 1
    values = {"ideal": dp.ideal.value, "bytes": over_link, "predicted": predicted, "measured": measured}
    id = "holds" if abs(error) < NEAR else "fails" if dp.row.on_gpu else "fails_on_cores"
    if not dp.says_something:
        id = "undetermined"
    return [message(f"solution.bandwidth_{id}", row=dp.row.name, error=error, **values)]


def _choose(here: Evidence) -> list[Message]:
    """The first recommendation of the best measured group, which rests on the ratio of the methods."""
    best = next(iter(here.results), None)
    has_several = best and len({row.method for row in best.group.rows}) > 1
    if not has_several or not best.advice:
        return [message("solution.choose_not_measured")]
    return [best.advice[0].sentence, message("solution.choose")]


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
    trials = [Tried(changed(trial.fact, trial.values), trial.outcome, _rounds(trial.row))
             for trial in (here.ladder.trials if here.ladder else [])]  # fmt: skip
    switches = [
        Tried(message("own.switch", what=change.what, row=change.effect.row.name), change.effect.outcome,
              _rounds(change.pair.before, change.pair.after))
        for change in _changes(here)
    ]  # fmt: skip
    options = [Tried(one.row.name.options, one.outcome, _rounds(one.row, one.other)) for one in _effects(here)]
    return [*trials, *switches, *options]


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
