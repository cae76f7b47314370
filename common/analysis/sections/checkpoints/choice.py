"""Checkpoint 4: predict, then measure, then see the error; and why bandwidth alone does not predict DP."""

from __future__ import annotations

from common.analysis.sections.checkpoints.proofs import PROBE, Checkpoint, Evidence, Proof, Quiz
from common.content import Message, message

NEAR = 0.05
"""A prediction that is off by less has not failed."""


def choice(here: Evidence) -> Checkpoint:
    """Proven by predictions, and by runs of what was predicted."""
    crossings = [crossover for crossover in here.crossovers if crossover.predicted]
    predictions = [results.prediction for results in here.results if results.prediction]
    made = [one for prediction in predictions for one in prediction.forecasts if one.devices > 1]
    known = [one for one in made if one.error is not None]
    first, commands = _before_predicting(here), {"dp": here.command("dp"), "ddp": here.command("ddp")}
    proofs = [Proof("predicted", bool(made or crossings), first)]
    for method in ("ddp", "dp"):
        is_known = any(one.method == method for one in known) or (
            method == "dp" and any(crossing.measured for crossing in crossings)
        )
        is_made = any(one.method == method for one in made)
        proofs.append(Proof(f"{method}_error", is_known, [*([] if is_made else first), commands[method]]))
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
    return Checkpoint("choice", proofs, [*figures, *(crossing.prediction for crossing in crossings)], quizzes)


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
