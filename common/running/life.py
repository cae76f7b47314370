"""The life of a run: from its first line on the screen to its record on the disk, whatever happens in between."""

import os
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import NoReturn

from common.command_line.commands import next_command
from common.command_line.options import TrainingOptions
from common.command_line.terminal import tell
from common.console.closing import show_summary
from common.errors import UsageError
from common.hangs.hang_watch import AFTER_A_HANG, waiting_line
from common.hangs.watchdog import CollectiveWatchdog
from common.machine.devices import LocalDevices
from common.records import Failure
from common.records.disk import check_writable, record_path, write_record
from common.running.checkpoints import holding
from common.running.failures import explain, grows_with_the_batch, is_host_limit, killed_rank, say_last, says
from common.running.measured_run import MeasuredRun, ProfileError
from common.running.start import ignore_signals, interrupt_on_signals, reason_of, try_next
from common.training import distributed
from common.training.user_file import frames_of_user, path_of_model, user_error


@contextmanager
def recording(options: TrainingOptions, devices: LocalDevices) -> Iterator[MeasuredRun]:
    """The run that the body of the `with` carries out. It ends with a record, also when the body fails.

    Rank 0 writes it, with every rank's times. A rank that fails alone writes it before it ends, for rank 0 then waits
    for a rank that is gone and may never wake up. Bad input (`UsageError`) leaves none: nothing has run.
    """
    with distributed.clean_shutdown(devices):
        run = MeasuredRun(options, devices)
        if devices.world.backend in distributed.SILENT_BACKENDS and options.ddp:
            run.watch = CollectiveWatchdog(options.ddp.timeout_seconds, run.hangs, partial(_end_from_watch, run))
        check_writable(options.results_dir)
        interrupt_on_signals()
        try:
            with holding(options.checkpoint_dir, run.recorder.record.run_id, devices):
                yield run
            record, ends_alone = run.recorder.record_of_all_ranks(), False
            ignore_signals()  # the run is over: its record is not lost for a Ctrl-C
        except UsageError:
            run.hangs.close()
            raise
        except ProfileError as error:
            # Some rank has failed after the last epoch: the run is complete all the same. Every rank holds the record
            # of all by now, the first to come here writes it, and the others must not wait for one that has failed:
            # the process ends at once, which brings them here, too, for the lost connection.
            record, ends_alone = error.args[0], True
            ignore_signals()
        except BaseException as error:
            _failed(run, error)
            raise
        finally:
            run.close()
        run.hangs.close()
        path = write_record(options.results_dir, record) if ends_alone or devices.rank == 0 else None
        if path:
            if ends_alone:
                tell(f"where a step goes: {record.anatomy.note if record.anatomy else ''}", f"record: {path}")
            show_summary(run.console, record, path, next_command(record), run.words)
        elif devices.rank == 0 and not ends_alone:
            tell(f"record: {record_path(options.results_dir, record.run_id)}, which another rank has written")
        if ends_alone:
            sys.exit(0)


def _failed(run: MeasuredRun, error: BaseException) -> None:
    """Leave a record that says why, and a message. Ends the process for the causes that need no traceback."""
    ignore_signals()
    run.close()
    failure = explain(reason_of(error), run.config, run.local_devices, len(run.recorder.record.epochs))
    if failure.kind == "communication" and says("timeout", failure.message):
        hang = run.hangs.examine(waiting_line(traceback.extract_tb(error.__traceback__)))
        if hang:
            hang_fields = {"kind": "hang", "message": hang[0], "rank": hang[1], "advice": AFTER_A_HANG}
            failure = failure.model_copy(update=hang_fields)
    elif failure.kind == "communication":
        run.hangs.give_way(record_path(run.options.results_dir, run.recorder.record.run_id))
    lost = None if failure.kind == "hang" else run.hangs.killed()
    if lost is not None:  # the connection broke, or torchrun ended this rank: for that reason
        failure = killed_rank(lost, failure.traceback)
    if failure.kind == "interrupted" and run.local_devices.rank != 0:
        run.hangs.close()
        sys.exit(130)  # the signal went to every rank, and rank 0 writes
    _leave_record(run, failure, lost is not None)
    # All is said. On GPUs the loader's thread, which still reads from workers that end, has nothing to add.
    threading.excepthook = lambda _: None
    if failure.kind == "out_of_memory" and run.options.auto_accumulate and grows_with_the_batch(error):
        try_next(run.config, run.local_devices.world)
    if is_host_limit(failure.advice):
        sys.unraisablehook = lambda _: None  # torch's half-made loader complains when it is deleted
    path = path_of_model(run.config)
    if path and frames_of_user(error, path):
        explained = user_error(error, path)  # their lines; the whole traceback is in the record
        tell(f"error: {explained}", *explained.trace)
        sys.exit(1)
    if failure.kind in ("interrupted", "out_of_memory", "hang") or lost is not None or is_host_limit(failure.advice):
        sys.exit(130 if failure.kind == "interrupted" else 1)


def _end_from_watch(run: MeasuredRun, missing_ranks: list[int], waits: str | None) -> NoReturn:
    """What the watch's thread does: the process ends, whatever its main thread waits for. Without `waits` a rank was
    killed, for which it may wait without end."""
    try:
        run.close()
        failure = killed_rank(missing_ranks[0])
        if waits:
            message = run.hangs.sentence(missing_ranks, f"rank {run.local_devices.rank} waits for it in {waits}")
            failure = Failure(kind="hang", rank=missing_ranks[0], message=message, advice=AFTER_A_HANG)
        _leave_record(run, failure, is_told_last=True)
    finally:
        if waits:
            run.hangs.end(missing_ranks)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)


def _leave_record(run: MeasuredRun, failure: Failure, is_told_last: bool = False) -> None:
    record = run.recorder.record_of_this_rank(failure)
    where: object
    try:
        where = write_record(run.options.results_dir, record)
    except UsageError as problem:  # a full disk, say: no reason to keep back what happened before
        where = problem
    if where:  # else another rank has written and said it
        tell("", f"{record.status}: {failure.message}", failure.advice, f"record: {where}")
        if failure.kind == "hang" or is_told_last:
            kind = "hang" if failure.kind == "hang" else record.status
            say_last(f"{kind}: {failure.message}", run.hangs.folder)
    run.hangs.close()
