"""Checkpoint 4: predict, then measure, then see the error; and why bandwidth alone does not predict DP."""

from __future__ import annotations

from common.analysis.comparing.utilisation import copy_seconds
from common.analysis.judging.checkpoints.proofs import PROBE, Checkpoint, Evidence, Proof, Quiz
from common.analysis.judging.ledger import Ledger, told
from common.content.messages import Message, message
from common.records import Method

NEAR = 0.05
"""A prediction that is off by less has not failed."""


def choice(here: Evidence) -> Checkpoint:
    """Proven by predictions, and by runs of what was predicted."""
    crossings = [line for found in here.across.batches for line in found.lines if line.id.startswith("crossing.")]
    is_met = any(line["measured"].id != "nothing" for line in crossings)
    made = [one for found in here.forecasts for one in found.forecasts if one.devices > 1]
    known = [one for one in made if one.error is not None]
    first, commands = _before_predicting(here), {"dp": here.command("dp"), "ddp": here.command("ddp")}
    proofs = [Proof("predicted", bool(made or crossings), first)]
    for method in ("ddp", "dp"):
        is_known = any(one.method == method for one in known) or (method == "dp" and is_met)
        is_made = any(one.method == method for one in made)
        proofs.append(Proof(f"{method}_error", is_known, [*([] if is_made else first), commands[method]]))
    figures = [
        message("own.predicted", row=one.name, predicted=one.step.seconds, measured=one.measured_step, error=one.error)
        for one in known
    ]
    quizzes = [
        Quiz(message("quiz.bandwidth"), _bandwidth(here)),
        Quiz(message("quiz.choose"), _choose(here)),
    ]
    return Checkpoint("choice", proofs, [*figures, *crossings], quizzes)


def _before_predicting(here: Evidence) -> list[str]:
    """What a prediction starts from, as far as it is not there: step 01's measurements, and one device's steps."""
    probed = here.probes("all_reduce") and here.probes("together") and here.probes("launches")
    single = here.row("single", lambda row: row.anatomy and row.anatomy.gradients and row.anatomy.replicate)
    return [*([] if probed else [PROBE]), *([] if single else [here.command("single")])]


def _bandwidth(here: Evidence) -> list[Message]:
    """DP's step as the bytes alone predict it: the ideal step, and the bytes over the link that step 01 measured."""
    books = [book for why in here.whys for book in why.ledgers if book.row.method == "dp" and book.row.devices > 1]
    if not books:
        return [message("solution.bandwidth_not_measured")]
    book: Ledger = books[0]
    over_link = copy_seconds(book.row) if book.row.on_gpu else 0.0  # nothing is copied between CPU cores
    if over_link is None:
        return [message("solution.bandwidth_not_measured"), told(book)]
    predicted, measured, ledger = book.ideal.value + over_link, book.measured.value, told(book)
    error = predicted / measured - 1
    values = {"ideal": book.ideal.value, "bytes": over_link, "predicted": predicted, "measured": measured}
    id = "holds" if abs(error) < NEAR else "fails" if book.row.on_gpu else "fails_on_cores"
    if ledger.id in ("ledger.nothing_lost", "ledger.uncertain"):
        id = "undetermined"
    return [message(f"solution.bandwidth_{id}", row=book.row.name, error=error, **values), ledger]


def _choose(here: Evidence) -> list[Message]:
    """The first recommendation of the best measured group, which rests on the ratio of the methods."""
    methods: set[Method] = {row.method for row in here.groups[0].rows} if here.groups else set()
    advice = here.whys[0].advice if here.whys and len(methods) > 1 else []
    if not advice:
        return [message("solution.choose_not_measured")]
    line = advice[0]
    return [message("advice.line" if line.how else "advice.short_line", what=line.what, how=line.how,
                    because=line.because), message("solution.choose")]  # fmt: skip
