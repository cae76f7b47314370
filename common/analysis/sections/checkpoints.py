"""The exercise's five checkpoints: what proves each, the reader's own figures, and questions with their answers."""

from collections import Counter

from common.analysis.comparing.facts import BATCH, GROUP_KEY, Scaling, grouped
from common.analysis.comparing.rows import Row
from common.analysis.judging.reasons import thread_cost
from common.analysis.judging.verdicts import counted_as
from common.analysis.sections.campaign_sections import height, prediction_of
from common.analysis.sections.changes import changed
from common.analysis.sections.comparison import ratio_cell, runs_note
from common.analysis.sections.evidence import PROBE, Checkpoint, Evidence, Proof, bytes_of_step, launches_and_why
from common.analysis.sections.other_sections import solved_faults
from common.content import NOTHING, Cell, Line, Message, Table, columns, message
from common.records import METHODS, Record

OF_A_RANK = {"rank_killed", "rank_stopped", "endless_loader"}
OF_MEMORY = {"out_of_memory", "dp_out_of_memory"}
"""Faults of `make faults` that prove the same once they are named and cured."""
STOPPED = "{training} --timeout 20 & sleep 60; pkill -STOP -n -P $!; wait"
"""Stops one rank of this torchrun and of no other, a minute after its start; the others wait 20 seconds for it."""
MAX_FIGURES = 4
SORTS = {"kept": "keep", "faster": "keep", "slower": "drop", "failed": "drop"}
"""Outcomes by which a switch stays or goes; with any other its interval leaves the question open."""
SWITCHES = {" --channels-last": ("memory_format", "channels_first"), " --fused-optimizer": ("fused_optimizer", False)}
"""Ones that any machine can try, with the setting that each changes and its usual value."""


def difference(here: Evidence) -> Checkpoint:
    """Proven by step 01's launches and by steps of both methods that were profiled."""
    probes = here.probes("launches")
    dp, ddp = (here.row(method, lambda row: row.profile) for method in ("dp", "ddp"))
    proofs = [
        Proof("launches", bool(probes and probes.launches.is_plausible), [PROBE],
              message("proof_hint.launches") if probes else None),
        Proof("dp_taken_apart", bool(dp), [here.command("dp")]),
        Proof("ddp_taken_apart", bool(ddp), [here.command("ddp")]),
    ]  # fmt: skip
    own, why = launches_and_why(probes.launches) if probes else ([], message("solution.threads_not_measured"))
    figures = [*own, *(bytes_of_step(row) for row in (dp, ddp) if row)]
    figures += [thread_cost(dp)] if dp and dp.profile.replicated.threads_cost else []
    quizzes = [(message("quiz.threads"), [why]), (message("quiz.bytes"), [message("solution.bytes")])]
    return Checkpoint("difference", proofs, figures, quizzes)


def alone(here: Evidence) -> Checkpoint:
    """Proven by completed runs of each script that a person started, parallel ones on several devices, and by such runs
    in both kinds of scaling, with one device to compare them with."""
    done = {record.method for record in here.by_hand if record.status == "completed"
            and (record.world.devices > 1 or not METHODS[record.method].is_parallel)}  # fmt: skip
    proofs = [Proof(f"{method}_run", method in done, [here.command(method)]) for method in ("single", "dp", "ddp")]
    by_hand = {(group.scaling, row.method) for group in here.groups for row in group.main_rows
               if row.devices > 1 and row.speed_up and any(run.record.launch is None for run in row.runs)}  # fmt: skip
    devices, share = here.devices, here.model.config.per_device_batch_size
    strong = [here.command(method, share // devices) for method in ("dp", "ddp")]
    if share % devices:  # the batch of one device cannot be split: let one device have theirs
        strong = [here.command("single", share * devices)]
    for kind, commands in (("weak", [here.command("dp"), here.command("ddp")]), ("strong", strong)):
        proofs.append(Proof(kind, {(kind, "dp"), (kind, "ddp")} <= by_hand, commands))
    figures = [message(f"own.batch_{row.method}", devices=row.devices, batch=row.record.config.global_batch_size,
                       per_device=row.record.config.per_device_batch_size, what=counted_as(row.record))
               for row in (here.row("dp"), here.row("ddp")) if row]  # fmt: skip
    batches = {"devices": devices, "share": share, "batch": share * devices, "what": counted_as(here.model)}
    of_scaling, table = _scaling(here)
    quizzes = [(message("quiz.batches", **batches), [message("solution.batches", **batches)]),
               (message("quiz.scaling"), of_scaling)]  # fmt: skip
    return Checkpoint("alone", proofs, figures, quizzes, table)


def _scaling(here: Evidence) -> tuple[list[Message], Table | None]:
    """Speed-ups in weak and in strong scaling, in words and as a table with a line for each method: of the
    representative rows on several devices of the first group that has such, and for strong scaling of the first one
    beside it."""
    scaled: dict[Scaling, dict[tuple, Row]] = {"weak": {}, "strong": {}}
    key: dict | None = None
    for group in sorted(here.groups, key=lambda group: list(scaled).index(group.scaling)):
        own = {name: group.key[name] for name in GROUP_KEY}
        several = [row for row in group.representatives if row.devices > 1] or group.main_rows
        rows = {(row.method, row.devices): row for row in several if row.devices > 1 and row.speed_up}
        if rows and not scaled[group.scaling] and key in (None, own):
            scaled[group.scaling], key = rows, own
    pairs = [message("own.both", row=row.name, weak=row.speed_up, strong=scaled["strong"][at].speed_up)
             for at, row in scaled["weak"].items() if at in scaled["strong"]]  # fmt: skip
    answer = [*([message("solution.both", pairs=pairs)] if pairs else []), message("solution.scaling")]
    lines = []
    for at, row in sorted((scaled["strong"] | scaled["weak"]).items(), reverse=True):
        of_count = [of_scaling.get(at) for of_scaling in scaled.values()]
        cells = [ratio_cell(one.speed_up, "×", runs_note(one)) if one else NOTHING for one in of_count]
        lines.append(Line([Cell(row.name), *cells], row.method, row.name))
    shown = columns("method", "weak_speed_up:speed-up", "strong_speed_up:speed-up")
    return answer, Table("scaling", shown, lines) if lines else None


def recognised(here: Evidence) -> Checkpoint:
    """Proven by kinds of fault that records name, and by a run that did what had failed before."""
    faults = here.report.folder.faults
    named = Counter(record.failure.kind for record in here.by_hand if record.failure)
    solved = {record.fault for record in faults if record.is_solved}
    long = here.command("ddp", epochs=100)  # enough to be stopped by hand
    proofs = [
        Proof("stopped", bool(named["interrupted"]), [long], message("proof_hint.stopped")),
        Proof("lost_rank", bool(named["communication"] or named["hang"] or solved & OF_A_RANK),
              [STOPPED.format(training=long)], message("proof_hint.lost_rank")),
    ]  # fmt: skip
    used, config = here.model.devices[0], here.model.config
    # Of GPUs alone: a host that is out of memory ends other programs as well.
    if used.capacity_bytes and (peak := used.memory.peak_allocated_bytes):
        too_large = 2 ** int(2 * config.per_device_batch_size * used.capacity_bytes / peak).bit_length()
        command = f"python 02_baseline_single_gpu.py --model {config.model} --batch-size {too_large}"
        proofs.append(Proof("out_of_memory", bool(named["out_of_memory"] or solved & OF_MEMORY), [command],
                            message("proof_hint.out_of_memory")))  # fmt: skip
    failed = [record for record in here.by_hand if record.failure]
    is_cured = bool(solved) or any(_cures(later, record) for record in failed for later in here.by_hand)
    proofs.append(Proof("cured", is_cured, [here.command("ddp")]))
    kinds = [message("own.kind", kind=message(f"failure_kind.{kind}"), count=count)
             for kind, count in named.most_common()]  # fmt: skip
    figures = [message("own.faults", kinds=kinds)] if kinds else []
    figures += [solved_faults(faults)] if solved else []
    newest = next((record.failure for record in reversed(here.records) if record.failure), None)
    read = [message("solution.no_failure")]
    if newest:  # message and advice as they were written
        kind = message(f"failure_kind.{newest.kind}")
        read = [message("solution.newest", kind=kind, rank=newest.rank, message=newest.message),
                message("solution.cure", advice=newest.advice)]  # fmt: skip
    quizzes = [(message("quiz.newest"), read), (message("quiz.stands_still"), [message("solution.stands_still")])]
    return Checkpoint("faults", proofs, figures, quizzes)


def _cures(later: Record, failed: Record) -> bool:
    """Whether a run did what had failed before; where memory was short, with whatever batch."""
    is_same = (later.method, later.config.model) == (failed.method, failed.config.model)
    may_differ = failed.failure.kind == "out_of_memory"
    has_batch = may_differ or later.config.global_batch_size == failed.config.global_batch_size
    return later.status == "completed" and later.started_at > failed.started_at and is_same and has_batch


def choice(here: Evidence) -> Checkpoint:
    """Proven by predictions that were asked for before a person's own runs, and by a ratio that decides."""
    report = here.report
    # A prediction starts from step 01's measurements and one device's steps, as far as they are not there yet.
    is_probed = all(here.probes(name) for name in ("all_reduce", "together", "launches"))
    single = here.row("single", lambda row: row.profile and row.profile.gradients and row.profile.replicate)
    first = [*([] if is_probed else [PROBE]), *([] if single else [here.command("single")]),
             f"python 05_performance_comparison.py --predict {here.devices}"]  # fmt: skip
    asked = [(prediction.started_at, step) for prediction in report.folder.predictions for step in prediction.steps]
    done = [run for run in here.by_hand if run.status == "completed"]
    foreseen = {run.method for run in done for at, step in asked if step.is_of(run) and at <= run.started_at}
    proofs = [Proof(f"{method}_error", method in foreseen, [*first, here.command(method)],
                    message("proof_hint.predict")) for method in ("ddp", "dp")]  # fmt: skip
    more = [] if report.decision.choice == "one_device" else [report.next_step.command]
    proofs.append(Proof("chosen", report.decision.is_settled, more))
    figures = [message("own.predicted", row=one.name, predicted=one.step.seconds, measured=one.measured_step,
                       error=one.error, naive=one.naive_error) for _, prediction in report.forecasts
               for one in prediction.forecasts if one.devices > 1 and one.error is not None]  # fmt: skip
    figures += filter(None, map(prediction_of, report.crossovers))
    best = report.groups[0] if report.groups else None
    chosen = [message("solution.choose_not_measured")]
    if best and len({row.method for row in best.group.rows}) > 1 and best.advice:
        # the first recommendation of the best measured group, which rests on the ratio of the methods
        chosen = [best.advice[0].sentence, message("solution.choose")]
    quizzes = [(message("quiz.bandwidth"), [_bandwidth(here)]), (message("quiz.choose"), chosen)]
    return Checkpoint("choice", proofs, figures, quizzes)


def _bandwidth(here: Evidence) -> Message:
    """DP's step as the bytes alone predict it: the ideal step, and the bytes over the link that step 01 measured."""
    every = (breakdown for results in here.report.groups for breakdown in results.breakdowns)
    dp = next((breakdown for breakdown in every if breakdown.row.method == "dp"), None)
    if dp is None or (dp.row.on_gpu and dp.over_link is None):
        return message("solution.bandwidth_not_measured")
    over_link = dp.over_link if dp.row.on_gpu else 0.0  # nothing is copied between CPU cores
    predicted, measured = dp.ideal.value + over_link, dp.measured.value
    error = predicted / measured - 1
    is_near = abs(error) < 0.05  # such a prediction has not failed
    fails = "fails" if dp.row.on_gpu else "fails_on_cores"
    id = "undetermined" if not dp.says_something else "holds" if is_near else fails
    return message(f"solution.bandwidth_{id}", row=dp.row.name, error=error, ideal=dp.ideal.value, bytes=over_link,
                   predicted=predicted, measured=measured)  # fmt: skip


def optimising(here: Evidence) -> Checkpoint:
    """Proven by two runs that differ in one thing, and by three rounds of such a pair."""
    ladder, effects = here.report.ladder, [effect for results in here.report.groups for effect in results.effects]
    trials = ladder.trials if ladder else []
    # Without the batches of DP and DDP: whoever has run weak and strong scaling has not tried them as a switch.
    changes = [one for one in here.report.changes if one.fact != BATCH["weak"] or not one.row.is_parallel]
    tried = [
        *((trial.outcome, changed(trial.fact, trial.values)) for trial in trials),
        *((one.outcome, message("own.switch", what=one.what, row=one.row.name)) for one in changes),
        *((one.outcome, one.row.name.options) for one in effects),
    ]
    in_rounds = any(trial.row and not trial.row.missing_runs for trial in trials) or any(
        not one.row.missing_runs and not one.other.missing_runs for one in (*changes, *effects)
    )
    # One switch in three rounds, in turn with the run without it.
    config, one = here.model.config, here.command("single") + " --anatomy-steps 0"
    free = [flag for flag, (setting, usual) in SWITCHES.items() if getattr(config, setting) == usual]
    command = f"for round in 1 2 3; do {one}; {one}{[*free, ' --deterministic'][0]}; done"
    proofs = [Proof("one_change", bool(tried), [command]), Proof("in_rounds", in_rounds, [command])]
    figures = [height(ladder)] if ladder else []
    figures += [one.sentence() for one in (*changes, *effects)]
    sorts = grouped(tried, lambda pair: SORTS.get(pair[0], "open"))
    keep = [message(f"solution.{sort}", switches=[what for _, what in sorts[sort]])
            for sort in ("keep", "drop", "open") if sort in sorts]  # fmt: skip
    quizzes = [(message("quiz.keep"), [*keep, message("solution.rule")])]
    return Checkpoint("optimising", proofs, figures[:MAX_FIGURES], quizzes)
