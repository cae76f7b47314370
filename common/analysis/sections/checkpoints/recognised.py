"""Checkpoint 3: faults that the reader has caused, that a record names, and that are cured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from common.analysis.sections.checkpoints.proofs import Checkpoint, Evidence, Proof, Quiz
from common.analysis.sections.faults import solved as solved_faults
from common.content import Message, message
from common.records import Failure, FailureKind, FaultName, Record

LOST_RANK: Sequence[FailureKind] = ("communication", "hang")
OF_A_RANK: set[FaultName] = {"rank_killed", "rank_stopped", "endless_loader"}
OF_MEMORY: set[FaultName] = {"out_of_memory", "dp_out_of_memory"}
"""Faults of `make faults` that prove the same once they are named and cured."""
WAITING = " --timeout 20"
"""Seconds that ranks wait for one that stands still."""
STOPPING = "pkill -u $(id -u) -STOP -nf 04_ddp_training"
"""In a second terminal."""
LONG = 100
"""Epochs: long enough to be stopped by hand."""


def recognised(here: Evidence) -> Checkpoint:
    """Proven by kinds of fault that records name, and by a run that did what had failed before."""
    named, long = faults_named(here), here.command("ddp", epochs=LONG)
    solved = {record.fault for record in here.folder.faults if record.is_solved}
    proofs = [
        Proof("stopped", bool(named["interrupted"]), [long], message("proof_hint.stopped")),
        Proof("lost_rank", any(named[kind] for kind in LOST_RANK) or bool(solved & OF_A_RANK),
              [long + WAITING, STOPPING], message("proof_hint.lost_rank")),
        *_too_large(here, bool(named["out_of_memory"] or solved & OF_MEMORY)),
        Proof("cured", bool(solved) or any(_is_cured(record, here.records) for record in here.records),
              [here.command("ddp")]),
    ]  # fmt: skip
    kinds = [
        message("own.kind", kind=message(f"failure_kind.{kind}"), count=count) for kind, count in named.most_common()
    ]
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
    """How often records of runs name each kind of failure."""
    return Counter(record.failure.kind for record in here.records if record.failure)


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
    """Whether a later run of the same method and model ran to its end."""
    return failed.failure is not None and any(
        record.status == "completed" and record.started_at > failed.started_at
        and (record.method, record.config.model) == (failed.method, failed.config.model)
        for record in records
    )  # fmt: skip
