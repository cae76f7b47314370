"""A run from its first line on the screen to its record on the disk, whatever happens in between."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from common.command_line.commands import next_command
from common.console import screen as console
from common.errors import UsageError
from common.machine.devices import Place
from common.machine.ranks import gathered
from common.records.disk import check_writable, write_record
from common.running import retry as accumulation
from common.running.failures import explain
from common.running.run import Run


@contextmanager
def recording(args: argparse.Namespace, place: Place) -> Iterator[Run]:
    """The run that the body of the `with` carries out. It ends with a record, also when the body fails.

    Rank 0 writes it, with every rank's times. A rank that fails alone writes it before it ends, for rank 0 then waits
    for a rank that is gone and may never wake up. Bad input (`UsageError`) leaves none: nothing has run.
    """
    run = Run(args, place)
    check_writable(run.folder)
    signal.signal(signal.SIGTERM, _terminated)
    try:
        yield run
        ranks = gathered(run.trace)
        used = [device for of_rank in gathered(run.devices) for device in of_rank]
        unreadable = set().union(*gathered(run.unreadable))
    except UsageError:
        raise
    except BaseException as error:
        _failed(run, error)
        raise
    finally:
        run.progress.close()
        run.scalars.close()
    if place.rank == 0:
        record = run.record(ranks, used, unreadable=unreadable)
        path = write_record(run.folder, record.run_id, record.model_dump_json(indent=1))
        console.show_summary(run.console, record, path, next_command(record))


def _failed(run: Run, error: BaseException) -> None:
    """Leave a record that says why, and a message. Ends the process for the causes that need no traceback."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not tear the record
    run.progress.close()
    failure = explain(error, run.config, run.place, len(run.epochs))
    if failure.kind == "interrupted" and run.place.rank != 0:
        sys.exit(130)  # the signal went to every rank, and rank 0 writes
    record = run.record([run.trace] if run.epochs else [], run.devices, failure, run.unreadable)
    path = write_record(run.folder, run.run_id, record.model_dump_json(indent=1))
    if path:
        print(f"\n{record.status}: {failure.message}\n{failure.advice}\nrecord: {path}", file=sys.stderr)
    if failure.kind == "out_of_memory" and run.args.auto_accumulate:
        accumulation.try_next(run.config, run.place.world)
    if failure.kind in ("interrupted", "out_of_memory"):
        sys.exit(130 if failure.kind == "interrupted" else 1)


def _terminated(number: int, frame: object) -> None:
    raise KeyboardInterrupt("ended by SIGTERM: under torchrun, all ranks are when one of them has died")
