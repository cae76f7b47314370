"""Checkpoints 1 to 3: threads against processes, all three scripts by oneself, faults recognised and cured."""

from collections import Counter
from collections.abc import Sequence

from common.analysis.comparing.facts import GROUP_KEY, Scaling
from common.analysis.comparing.rows import Row
from common.analysis.judging.reasons import thread_cost
from common.analysis.judging.verdicts import counted_as
from common.analysis.sections.checkpoint import PROBE, Checkpoint, Evidence, Proof
from common.analysis.sections.comparison import ratio_cell, runs_note
from common.analysis.sections.other_sections import solved_faults
from common.content import NOTHING, Cell, Line, Message, Table, columns, message
from common.records import METHODS, FailureKind, FaultName, LaunchTimes, Record


def difference(here: Evidence) -> Checkpoint:
    """Proven by step 01's launches and by steps of both methods that were taken apart."""
    probes = here.probes("launches")
    dp, ddp = (here.row(method, lambda row: row.profile) for method in ("dp", "ddp"))
    proofs = [
        Proof("launches", bool(probes and probes.launches.is_plausible), [PROBE],
              message("proof_hint.launches") if probes else None),
        Proof("dp_taken_apart", bool(dp), [here.command("dp")]),
        Proof("ddp_taken_apart", bool(ddp), [here.command("ddp")]),
    ]  # fmt: skip
    own, why = _launches(probes.launches) if probes else ([], message("solution.threads_not_measured"))
    figures = [*own, *(_moved(row) for row in (dp, ddp) if row)]
    figures += [thread_cost(dp)] if dp and dp.profile.replicated.threads_cost else []
    quizzes = [(message("quiz.threads"), [why]), (message("quiz.bytes"), [message("solution.bytes")])]
    return Checkpoint("difference", proofs, figures, quizzes)


def _launches(times: LaunchTimes) -> tuple[list[Message], Message]:
    """The reader's own figures, and whether DP's loss comes from threads."""
    alone, threads, processes = times.alone_seconds, times.threads_seconds, times.processes_seconds
    seconds = {"workers": times.workers, "alone": alone, "threads": threads, "processes": processes}
    if not times.is_plausible:
        why = message("solution.threads_implausible", workers=times.workers)
        return [message("own.launches_implausible", **seconds)], why
    id = "solution.threads" if times.threads_are_dearer else "solution.threads_not_dearer"
    why = message(id, workers=times.workers, threads=threads / alone, processes=processes / alone)
    return [message("own.launches", **seconds)], why


def _moved(row: Row) -> Message:
    """The bytes of a step, in parts under DP and in messages under DDP; on GPUs what the host needs to launch it."""
    profile = row.profile
    host = message("own.host", seconds=profile.host_step.value) if profile.host_step else message("nothing")
    values = {"row": row.name, "bytes": sum(profile.bytes_moved.values()), "host": host}
    if METHODS[row.method].synchronises_gradients:
        return message("own.exchanged", count=len(profile.bucket_bytes), **values)
    parts = [message("own.part", phase=name, bytes=size) for name, size in profile.bytes_moved.items() if size]
    return message("own.moved" if row.on_gpu else "own.moved_in_memory", parts=parts, **values)


def alone(here: Evidence) -> Checkpoint:
    """Proven by completed runs of each script that a person started, parallel ones on several devices, and by such runs
    in both kinds of scaling, with one device to compare them with."""
    done = {record.method for record in here.by_hand if record.status == "completed"
            and (record.world.devices > 1 or not METHODS[record.method].is_parallel)}  # fmt: skip
    proofs = [Proof(f"{method}_run", method in done, [here.command(method)]) for method in ("single", "dp", "ddp")]
    by_hand = {(group.scaling, row.method) for group in here.groups for row in group.main_rows
               if row.devices > 1 and row.speed_up and any(run.record.launch is None for run in row.runs)}  # fmt: skip
    devices, share = here.devices, here.model.config.per_device_batch_size
    if share % devices:  # the batch of one device cannot be split: let one device have theirs
        strong = [here.command("single", share * devices)]
    else:
        strong = [here.command(method, share // devices) for method in ("dp", "ddp")]
    weak = [here.command("dp"), here.command("ddp")]
    proofs += [Proof(kind, {(kind, "dp"), (kind, "ddp")} <= by_hand, commands)
               for kind, commands in (("weak", weak), ("strong", strong))]  # fmt: skip
    figures = [
        message(f"own.batch_{row.method}", devices=row.devices, batch=row.record.config.global_batch_size,
                per_device=row.record.config.per_device_batch_size, what=counted_as(row.record))
        for row in (here.row("dp"), here.row("ddp")) if row
    ]  # fmt: skip
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
    for scaling in scaled:
        for group in here.groups:
            own = {name: group.key[name] for name in GROUP_KEY}
            several = [row for row in group.representatives if row.devices > 1] or group.main_rows
            rows = {(row.method, row.devices): row for row in several if row.devices > 1 and row.speed_up}
            if rows and group.scaling == scaling and key in (None, own):
                scaled[scaling], key = rows, own
                break
    pairs = [message("own.both", row=row.name, weak=row.speed_up, strong=scaled["strong"][at].speed_up)
             for at, row in scaled["weak"].items() if at in scaled["strong"]]  # fmt: skip
    answer = [*([message("solution.both", pairs=pairs)] if pairs else []), message("solution.scaling")]
    lines = []
    for at, row in sorted((scaled["strong"] | scaled["weak"]).items(), reverse=True):
        found = [of_scaling.get(at) for of_scaling in scaled.values()]
        cells = [ratio_cell(one.speed_up, "×", runs_note(one)) if one else NOTHING for one in found]
        lines.append(Line([Cell(row.name), *cells], row.method, row.name))
    shown = columns("method", "weak_speed_up:speed-up", "strong_speed_up:speed-up")
    return answer, Table("scaling", shown, lines) if lines else None


LOST_RANK: Sequence[FailureKind] = ("communication", "hang")
OF_A_RANK: set[FaultName] = {"rank_killed", "rank_stopped", "endless_loader"}
OF_MEMORY: set[FaultName] = {"out_of_memory", "dp_out_of_memory"}
"""Faults of `make faults` that prove the same once they are named and cured."""
STOPPED = "{training} --timeout 20 & sleep 60; pkill -STOP -n -P $!; wait"
"""Stops one rank of this torchrun and of no other, a minute after its start; the others wait 20 seconds for it."""
LONG = 100
"""Epochs: enough to be stopped by hand."""


def recognised(here: Evidence) -> Checkpoint:
    """Proven by kinds of fault that records name, and by a run that did what had failed before."""
    by_hand, faults = here.by_hand, here.report.folder.faults
    named = Counter(record.failure.kind for record in by_hand if record.failure)
    solved, long = {record.fault for record in faults if record.is_solved}, here.command("ddp", epochs=LONG)
    proofs = [
        Proof("stopped", bool(named["interrupted"]), [long], message("proof_hint.stopped")),
        Proof("lost_rank", any(named[kind] for kind in LOST_RANK) or bool(solved & OF_A_RANK),
              [STOPPED.format(training=long)], message("proof_hint.lost_rank")),
        *_too_large(here.model, bool(named["out_of_memory"] or solved & OF_MEMORY)),
        Proof("cured", bool(solved) or any(_is_cured(record, by_hand) for record in by_hand), [here.command("ddp")]),
    ]  # fmt: skip
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


def _too_large(record: Record, is_there: bool) -> list[Proof]:
    """A batch that cannot fit, by the memory that the runs took. Of GPUs alone: a host that is out of memory ends other
    programs as well."""
    config, used = record.config, record.devices[0]
    if not used.capacity_bytes or not used.memory.peak_allocated_bytes:
        return []
    fits = config.per_device_batch_size * used.capacity_bytes / used.memory.peak_allocated_bytes
    batch = 2 ** int(2 * fits).bit_length()
    command = f"python 02_baseline_single_gpu.py --model {config.model} --batch-size {batch}"
    return [Proof("out_of_memory", is_there, [command], message("proof_hint.out_of_memory"))]


def _is_cured(failed: Record, records: Sequence[Record]) -> bool:
    """Whether a later run of the same method, model and batch ran to its end; what did not fit may have another."""
    did_not_fit = failed.failure is not None and failed.failure.kind == "out_of_memory"
    return failed.failure is not None and any(
        record.status == "completed" and record.started_at > failed.started_at
        and (record.method, record.config.model) == (failed.method, failed.config.model)
        and (did_not_fit or record.config.global_batch_size == failed.config.global_batch_size)
        for record in records
    )  # fmt: skip
