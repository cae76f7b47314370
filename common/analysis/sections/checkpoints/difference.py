"""Checkpoint 1: threads against processes, and what each method moves in a step."""

from __future__ import annotations

from common.analysis.comparing.rows import Row
from common.analysis.judging.reasons import thread_cost
from common.analysis.sections.checkpoints.proofs import PROBE, Checkpoint, Evidence, Proof, Quiz
from common.content import Message, message
from common.records import METHODS, LaunchTimes


def difference(here: Evidence) -> Checkpoint:
    """Proven by step 01's launches and by steps of both methods that were taken apart."""
    probes = here.probes("launches")
    dp, ddp = (here.row(method, lambda row: row.profile) for method in ("dp", "ddp"))
    proofs = [
        Proof("launches", bool(probes), [PROBE]),
        Proof("dp_taken_apart", bool(dp), [here.command("dp")]),
        Proof("ddp_taken_apart", bool(ddp), [here.command("ddp")]),
    ]
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
