"""The life of a run: from its first line on the screen to its record on the disk, whatever happens in between."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import NoReturn

from common.command_line.commands import next_command
from common.command_line.options import TrainingOptions
from common.command_line.terminal import tell
from common.console.closing import show_summary
from common.errors import UsageError
from common.hangs.watchdog import CollectiveWatchdog
from common.machine.devices import LocalDevices
from common.records import Failure, Record
from common.records.disk import check_writable, record_path, write_record
from common.running.checkpoints import holding
from common.running.failures import HOST_LIMITS, TIMEOUT, explain, grows_with_the_batch, say_last, says
from common.running.measured_run import MeasuredRun, ProfileError
from common.running.start import ignore_signals, interrupt_on_signals, reason_of, try_next
from common.training import distributed
from common.training.user_file import file_of_model


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
            record = run.recorder.record_of_all_ranks()
            ignore_signals()  # the run is over: its record is not lost for a Ctrl-C
        except ProfileError as error:
            _complete_alone(run, error.args[0])
        except UsageError:
            raise
        except BaseException as error:
            _fail(run, error)
            raise
        finally:
            run.close()
            run.hangs.close()
        if devices.rank != 0:
            return
        if path := write_record(options.results_dir, record):
            show_summary(run.console, record, path, next_command(record), run.words)
        else:
            tell(f"record: {record_path(options.results_dir, record.run_id)}, which another rank has written")


def _complete_alone(run: MeasuredRun, record: Record) -> NoReturn:
    """Some rank has failed after the last epoch: the run is complete all the same.

    Every rank has the record of all by now, and the first to come here writes it. The others must not wait for one that
    has failed: the process ends at once, which brings them here, too, for the lost connection.
    """
    ignore_signals()
    run.close()
    if path := write_record(run.options.results_dir, record):
        tell(f"where a step goes: {record.anatomy.note if record.anatomy else ''}", f"record: {path}")
        show_summary(run.console, record, path, next_command(record), run.words)
    sys.exit(0)


def _fail(run: MeasuredRun, error: BaseException) -> None:
    """Leave a record that says why, and a message. Ends the process, but where the traceback has more to say."""
    ignore_signals()
    run.close()
    # Neither the loader's thread, which on GPUs still reads from workers that end, nor torch's half-made loader, which
    # complains when it is deleted, has anything to add.
    threading.excepthook = lambda _: None
    sys.unraisablehook = lambda _: None
    failure = _cause(run, error)
    if failure.kind == "interrupted":
        if run.local_devices.rank == 0:  # the signal went to every rank
            _leave_record(run, failure)
        sys.exit(130)
    _leave_record(run, failure)
    if failure.kind == "out_of_memory" and run.options.auto_accumulate and grows_with_the_batch(error):
        try_next(run.config, run.local_devices.world)
    file = file_of_model(run.config)
    if file and file.frames(error):
        explained = file.explained(error)  # their lines; the whole traceback is in the record
        tell(f"error: {explained}", *explained.trace)
        sys.exit(1)
    if failure.kind == "out_of_memory" or _blames_another_rank(run, failure) or failure.advice in HOST_LIMITS:
        sys.exit(1)


def _cause(run: MeasuredRun, error: BaseException) -> Failure:
    """What went wrong: in this rank, or in another one, of which this one has noticed a collective that has failed."""
    own = explain(reason_of(error), run.config, run.local_devices, len(run.recorder.record.epochs))
    noticed = None
    if own.kind == "communication":
        if says(TIMEOUT, own.message):
            noticed = run.hangs.examine(error)
        else:
            run.hangs.give_way(record_path(run.options.results_dir, run.recorder.record.run_id))
    noticed = noticed or run.hangs.killed()  # the connection broke, or torchrun ended this rank: for that reason
    return noticed.model_copy(update={"traceback": own.traceback}) if noticed else own


def _blames_another_rank(run: MeasuredRun, failure: Failure) -> bool:
    """Whether this rank only waited, for one that hangs or was killed; or all of them for each other."""
    return failure.kind == "hang" or failure.rank != run.local_devices.rank


def _end_from_watch(run: MeasuredRun, failure: Failure) -> NoReturn:
    """What the watch's thread does: the process ends, whatever its main thread waits for, perhaps without end."""
    try:
        run.close()
        _leave_record(run, failure)
    finally:
        run.hangs.close()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)


def _leave_record(run: MeasuredRun, failure: Failure) -> None:
    record = run.recorder.record_of_this_rank(failure)
    where: object
    try:
        where = write_record(run.options.results_dir, record)
    except UsageError as problem:  # a full disk, say: no reason to keep back what happened before
        where = problem
    if where:  # else another rank has written and said it
        tell("", f"{record.status}: {failure.message}", failure.advice, f"record: {where}")
        if _blames_another_rank(run, failure):
            kind = "hang" if failure.kind == "hang" else record.status
            say_last(f"{kind}: {failure.message}", run.hangs.folder)
