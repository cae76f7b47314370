"""Checkpoints 4 and 5: a choice predicted and then measured; one change and its ratio."""

from common.analysis.comparing.facts import BATCH
from common.analysis.comparing.rows import ENOUGH_RUNS, Row
from common.analysis.sections.campaign_sections import height, prediction_of
from common.analysis.sections.changes import changed
from common.analysis.sections.checkpoint import PROBE, Checkpoint, Evidence, Proof
from common.content import Message, message
from common.records import Method

NEAR = 0.05
"""A prediction that is off by less has not failed."""


def choice(here: Evidence) -> Checkpoint:
    """Proven by predictions that were asked for before a person's own runs, and by a ratio that decides."""
    report = here.report
    # A prediction starts from step 01's measurements and one device's steps, as far as they are not there yet.
    is_probed = all(here.probes(name) for name in ("all_reduce", "together", "launches"))
    single = here.row("single", lambda row: row.profile and row.profile.gradients and row.profile.replicate)
    first = [*([] if is_probed else [PROBE]), *([] if single else [here.command("single")]),
             f"python 05_performance_comparison.py --predict {here.devices}"]  # fmt: skip
    proofs = [Proof(f"{method}_error", _is_foreseen(here, method), [*first, here.command(method)],
                    message("proof_hint.predict")) for method in ("ddp", "dp")]  # fmt: skip
    more = [] if report.decision.choice == "one_device" else [report.next_step.command]
    proofs.append(Proof("chosen", report.decision.is_settled, more))
    predicted = [one for _, prediction in report.forecasts for one in prediction.forecasts]
    figures = [message("own.predicted", row=one.name, predicted=one.step.seconds, measured=one.measured_step,
                       error=one.error, naive=one.naive_error)
               for one in predicted if one.devices > 1 and one.error is not None]  # fmt: skip
    figures += filter(None, map(prediction_of, report.crossovers))
    best = report.groups[0] if report.groups else None
    chosen = [message("solution.choose_not_measured")]
    if best and len({row.method for row in best.group.rows}) > 1 and best.advice:
        # the first recommendation of the best measured group, which rests on the ratio of the methods
        chosen = [best.advice[0].sentence, message("solution.choose")]
    quizzes = [(message("quiz.bandwidth"), [_bandwidth(here)]), (message("quiz.choose"), chosen)]
    return Checkpoint("choice", proofs, figures, quizzes)


def _is_foreseen(here: Evidence, method: Method) -> bool:
    """Whether step 05 was asked to predict what a person then ran to its end."""
    runs = [run for run in here.by_hand if run.method == method and run.status == "completed"]
    asked = here.report.folder.predictions
    return any(step.is_of(run) and prediction.started_at <= run.started_at
               for prediction in asked for step in prediction.steps for run in runs)  # fmt: skip


def _bandwidth(here: Evidence) -> Message:
    """DP's step as the bytes alone predict it: the ideal step, and the bytes over the link that step 01 measured."""
    every = (breakdown for results in here.report.groups for breakdown in results.breakdowns)
    dp = next((breakdown for breakdown in every if breakdown.row.method == "dp"), None)
    if dp is None or (dp.row.on_gpu and dp.over_link is None):
        return message("solution.bandwidth_not_measured")
    over_link = dp.over_link if dp.row.on_gpu else 0.0  # nothing is copied between CPU cores
    predicted, measured = dp.ideal.value + over_link, dp.measured.value
    error = predicted / measured - 1
    id = "holds" if abs(error) < NEAR else "fails" if dp.row.on_gpu else "fails_on_cores"
    if not dp.says_something:
        id = "undetermined"
    return message(f"solution.bandwidth_{id}", row=dp.row.name, error=error, ideal=dp.ideal.value, bytes=over_link,
                   predicted=predicted, measured=measured)  # fmt: skip


MAX_FIGURES = 4
KEEP, DROP = ("kept", "faster"), ("slower", "failed")
"""Outcomes by which a switch stays or goes; with any other its interval leaves the question open."""
SWITCHES = {" --channels-last": ("memory_format", "channels_first"), " --fused-optimizer": ("fused_optimizer", False)}
"""Ones that any machine can try, with the setting that each changes and its usual value."""


def optimising(here: Evidence) -> Checkpoint:
    """Proven by two runs that differ in one thing, and by three rounds of such a pair."""
    ladder = here.report.ladder
    trials = ladder.trials if ladder else []
    effects = [effect for results in here.report.groups for effect in results.effects]
    # Without the batches of DP and DDP: whoever has run weak and strong scaling has not tried them as a switch.
    changes = [change for change in here.report.changes
               if change.pair.fact != BATCH["weak"] or not change.pair.after.is_parallel]  # fmt: skip
    # What each switch is, what came of it, and the rows with it and without it.
    tried: list[tuple[Message | str, str, list[Row | None]]] = [
        *((changed(trial.fact, trial.values), trial.outcome, [trial.row]) for trial in trials),
        *((message("own.switch", what=change.what, row=change.effect.row.name), change.effect.outcome,
           [change.pair.before, change.pair.after]) for change in changes),
        *((effect.row.name.options, effect.outcome, [effect.row, effect.other]) for effect in effects),
    ]  # fmt: skip
    in_rounds = any(all(row and len(row.runs) >= ENOUGH_RUNS for row in rows) for *_, rows in tried)
    # One switch in three rounds, in turn with the run without it.
    config, one = here.model.config, here.command("single") + " --anatomy-steps 0"
    free = [flag for flag, (setting, usual) in SWITCHES.items() if getattr(config, setting) == usual]
    command = f"for round in 1 2 3; do {one}; {one}{[*free, ' --deterministic'][0]}; done"
    proofs = [Proof("one_change", bool(tried), [command]), Proof("in_rounds", in_rounds, [command])]
    figures = [height(ladder)] if ladder else []
    figures += [change.sentence for change in changes] + [effect.sentence() for effect in effects]
    sorts: dict[str, list[Message | str]] = {"keep": [], "drop": [], "open": []}
    for what, outcome, _ in tried:  # a switch that was tried twice is named once
        sorts["keep" if outcome in KEEP else "drop" if outcome in DROP else "open"].append(what)
    keep = [message(f"solution.{sort}", switches=of_sort) for sort, of_sort in sorts.items() if of_sort]
    quizzes = [(message("quiz.keep"), [*keep, message("solution.rule")])]
    return Checkpoint("optimising", proofs, figures[:MAX_FIGURES], quizzes)
