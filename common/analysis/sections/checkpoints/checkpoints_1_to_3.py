"""Checkpoints 1 to 3: threads against processes, all three scripts by oneself, faults recognised and cured."""

from collections import Counter
from collections.abc import Sequence

from common.analysis.comparing.facts import GROUP_KEY, Scaling
from common.analysis.comparing.groups import Group
from common.analysis.comparing.rows import Row
from common.analysis.judging.reasons import thread_cost
from common.analysis.judging.verdicts import counted_as
from common.analysis.sections.checkpoints.proofs import PROBE, Checkpoint, Evidence, Proof, Quiz
from common.analysis.sections.comparison import ratio_cell, runs_note
from common.analysis.sections.other_sections import solved_faults
from common.content import NOTHING, Cell, Line, Message, Table, columns, message
from common.records import METHODS, Failure, FailureKind, FaultName, LaunchTimes, Record


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
    figures = [_launches(probes.launches)] if probes else []
    figures += [_moved(row) for row in (dp, ddp) if row]
    figures += [thread_cost(dp)] if dp and dp.profile.replicated.threads_cost else []
    quizzes = [
        Quiz(message("quiz.threads"), [_why_threads(probes.launches if probes else None)]),
        Quiz(message("quiz.bytes"), [message("solution.bytes")]),
    ]
    return Checkpoint("difference", proofs, figures, quizzes)


def _launches(times: LaunchTimes) -> Message:
    id = "own.launches" if times.is_plausible else "own.launches_implausible"
    return message(id, workers=times.workers, alone=times.alone_seconds, threads=times.threads_seconds,
                   processes=times.processes_seconds)  # fmt: skip


def _why_threads(times: LaunchTimes | None) -> Message:
    if times is None:
        return message("solution.threads_not_measured")
    if not times.is_plausible:
        return message("solution.threads_implausible", workers=times.workers)
    values = {
        "workers": times.workers,
        "threads": times.threads_seconds / times.alone_seconds,
        "processes": times.processes_seconds / times.alone_seconds,
    }
    return message("solution.threads" if times.threads_are_dearer else "solution.threads_not_dearer", **values)


def _moved(row: Row) -> Message:
    """The bytes of a step, in parts under DP and in messages under DDP; on GPUs what the host needs to launch it."""
    profile = row.profile
    parts = [message("own.part", phase=name, bytes=size) for name, size in profile.bytes_moved.items() if size]
    host = message("own.host", seconds=profile.host_step.value) if profile.host_step else message("nothing")
    size = sum(profile.bytes_moved.values())
    if METHODS[row.method].synchronises_gradients:
        return message("own.exchanged", row=row.name, bytes=size, count=len(profile.bucket_bytes), host=host)
    id = "own.moved" if row.on_gpu else "own.moved_in_memory"
    return message(id, row=row.name, bytes=size, parts=parts, host=host)


def alone(here: Evidence) -> Checkpoint:
    """Proven by completed runs of each script that a person started, and by such runs in both kinds of scaling."""
    done, scaled = here.methods_by_hand, _scaled(here)
    by_hand = {(group.scaling, row.method) for group in here.groups for row in group.main_rows if _is_by_hand(row)}
    commands = {"weak": [here.command("dp"), here.command("ddp")], "strong": _for_strong(here)}
    proofs = [Proof(f"{method}_run", method in done, [here.command(method)]) for method in ("single", "dp", "ddp")]
    proofs += [Proof(kind, {(kind, "dp"), (kind, "ddp")} <= by_hand, to_run) for kind, to_run in commands.items()]
    quizzes = [_batches(here), Quiz(message("quiz.scaling"), _scaling(scaled))]
    return Checkpoint("alone", proofs, _given(here), quizzes, _table(scaled))


def _is_by_hand(row: Row) -> bool:
    """Whether a person started runs of it on several devices, and there is one device to compare them with."""
    return row.devices > 1 and row.speed_up is not None and any(run.record.launch is None for run in row.runs)


def _given(here: Evidence) -> list[Message]:
    """What `--batch-size` was in 03 and in 04."""
    rows = [row for row in (here.row("dp"), here.row("ddp")) if row]
    return [
        message(f"own.batch_{row.method}", devices=row.devices, batch=row.record.config.global_batch_size,
                per_device=row.record.config.per_device_batch_size, what=counted_as(row.record))
        for row in rows
    ]  # fmt: skip


def _batches(here: Evidence) -> Quiz:
    devices, share = here.devices, here.model.config.per_device_batch_size
    values = {"devices": devices, "share": share, "batch": share * devices, "what": counted_as(here.model)}
    return Quiz(message("quiz.batches", **values), [message("solution.batches", **values)])


def _for_strong(here: Evidence) -> list[str]:
    """Both methods with the global batch of one device; where that cannot be split, one device with theirs."""
    share, rest = divmod(here.model.config.per_device_batch_size, here.devices)
    if rest:
        return [here.command("single", here.model.config.per_device_batch_size * here.devices)]
    return [here.command("dp", share), here.command("ddp", share)]


def _scaled(here: Evidence) -> dict[Scaling, dict[tuple, Row]]:
    """By scaling: the representative rows on several devices that have a speed-up, of the first group that has such,
    and for strong scaling of the first one beside it."""
    scaled: dict[Scaling, dict[tuple, Row]] = {"weak": {}, "strong": {}}
    key: dict | None = None
    for scaling in scaled:
        for group in here.groups:
            own = {name: group.key[name] for name in GROUP_KEY}
            rows = _with_speed_up(group) if group.scaling == scaling and key in (None, own) else {}
            if rows:
                scaled[scaling], key = rows, own
                break
    return scaled


def _with_speed_up(group: Group) -> dict[tuple, Row]:
    rows = [row for row in group.representatives if row.devices > 1] or group.main_rows
    return {(row.method, row.devices): row for row in rows if row.devices > 1 and row.speed_up}


def _scaling(scaled: dict[Scaling, dict[tuple, Row]]) -> list[Message]:
    pairs = [message("own.both", row=row.name, weak=row.speed_up, strong=scaled["strong"][at].speed_up)
             for at, row in scaled["weak"].items() if at in scaled["strong"]]  # fmt: skip
    return [*([message("solution.both", pairs=pairs)] if pairs else []), message("solution.scaling")]


def _table(scaled: dict[Scaling, dict[tuple, Row]]) -> Table | None:
    """A line for each method: its speed-up in weak and in strong scaling, each with the runs that it rests on."""
    rows = {**scaled["strong"], **scaled["weak"]}
    shown = columns("method", "weak_speed_up:speed-up", "strong_speed_up:speed-up")
    lines = [Line([Cell(row.name), *(_cell(scaled[scaling].get(at)) for scaling in scaled)], row.method, row.name)
             for at, row in sorted(rows.items(), reverse=True)]  # fmt: skip
    return Table("scaling", shown, lines) if lines else None


def _cell(row: Row | None) -> Cell:
    return ratio_cell(row.speed_up, "×", runs_note(row)) if row else NOTHING


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
    named, long = faults_named(here), here.command("ddp", epochs=LONG)
    solved = {record.fault for record in here.folder.faults if record.is_solved}
    proofs = [
        Proof("stopped", bool(named["interrupted"]), [long], message("proof_hint.stopped")),
        Proof("lost_rank", any(named[kind] for kind in LOST_RANK) or bool(solved & OF_A_RANK),
              [STOPPED.format(training=long)], message("proof_hint.lost_rank")),
        *_too_large(here, bool(named["out_of_memory"] or solved & OF_MEMORY)),
        Proof("cured", bool(solved) or any(_is_cured(record, here.by_hand) for record in here.by_hand),
              [here.command("ddp")]),
    ]  # fmt: skip
    kinds = [message("own.kind", kind=message(f"failure_kind.{kind}"), count=count)
             for kind, count in named.most_common()]  # fmt: skip
    own = [message("own.faults", kinds=kinds)] if kinds else []
    if solved:
        own.append(solved_faults(here.folder.faults))
    newest = next((record.failure for record in reversed(here.records) if record.failure), None)
    read = _read(newest) if newest else [message("solution.no_failure")]
    quizzes = [
        Quiz(message("quiz.newest"), read),
        Quiz(message("quiz.stands_still"), [message("solution.stands_still")]),
    ]
    return Checkpoint("faults", proofs, own, quizzes)


def _read(failure: Failure) -> list[Message]:
    """What a record says of its fault; message and advice as they were written."""
    kind = message(f"failure_kind.{failure.kind}")
    named = message("solution.newest", kind=kind, rank=failure.rank, message=failure.message)
    return [named, message("solution.cure", advice=failure.advice)]


def faults_named(here: Evidence) -> Counter[FailureKind]:
    """How often records name each kind of failure, of runs that a person started."""
    return Counter(record.failure.kind for record in here.by_hand if record.failure)


def _too_large(here: Evidence, is_there: bool) -> list[Proof]:
    """A batch that cannot fit, by the memory that the runs took. Of GPUs alone: a host that is out of memory ends other
    programs as well."""
    config, used = here.model.config, here.model.devices[0]
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
