"""Causes fault after fault: shows what a user sees, what the lab says of it, and that the cure cures."""

from __future__ import annotations

import secrets
import socket
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from time import monotonic

from rich.console import Console
from rich.markup import escape

from common.analysis.page.wording import Wording
from common.faults.command import Ended, run
from common.faults.fault import Fault
from common.faults.needs import gpus, missing
from common.faults.said import last_lines, records_in, sentence
from common.faults.table import fault_table
from common.records import FaultRecord
from common.records.disk import check_writable, write_record


class FaultLab:
    """Faults, caused one after another in the current folder; a record of each goes to `results`/faults."""

    def __init__(self, faults: Sequence[Fault], results: Path, words: Wording) -> None:
        self._faults, self._folder, self._words = faults, results / "faults", words
        self._console = Console(highlight=False, soft_wrap=True)
        self._done: list[FaultRecord] = []
        self._cured: dict[str, tuple[Ended, bool]] = {}
        """Cures that have been run, and whether their record is complete: several faults have the same one."""

    def run(self) -> int:
        """Cause them all. Returns 0 where each was named and cured or could not be caused here, 1 where one was not,
        130 after Ctrl-C. Raises `UsageError` where no record can be written."""
        check_writable(self._folder)
        started = monotonic()
        try:
            for number, fault in enumerate(self._faults, 1):
                self._say("faults.heading", number=number, count=len(self._faults), elapsed=monotonic() - started,
                          title=self._of(fault, "title"), style="bold")  # fmt: skip
                self._enter(self._caused(fault))
        except KeyboardInterrupt:
            rest = " ".join(fault.id for fault in self._faults[len(self._done) :])
            self._summary()
            print(self._words.say("faults.stopped", folder=self._folder, rest=rest), file=sys.stderr)
            return 130
        self._summary()
        self._say("faults.over", seconds=monotonic() - started, folder=self._folder)
        return 0 if all(record.missing or record.is_solved for record in self._done) else 1

    def _caused(self, fault: Fault) -> FaultRecord:
        now, lacking = datetime.now(UTC), missing(fault)
        if fault.on_gpus and not lacking and gpus():
            fault = replace(fault, **{name: value for name, value in fault.on_gpus._asdict().items() if value})
        record = FaultRecord(
            run_id=f"fault_{fault.id}_{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}",
            fault=fault.id,
            started_at=now.isoformat(timespec="seconds"),
            hostname=socket.gethostname(),
            torch=version("torch"),
            missing=lacking,
            command=fault.start,
            cure_command=fault.cured,
        )
        if lacking:
            self._say("faults.skipped", need=lacking, style="yellow")
            return record
        with tempfile.TemporaryDirectory(prefix="lab-fault-") as name:
            scratch = Path(name)
            if fault.prepare:
                fault.prepare(scratch)
            self._console.out(f"$ {fault.start}")
            ended = run(fault.start, scratch, fault.act, fault.limit)
            found = sentence(fault.named, ended.output, scratch / "results")
            record.seconds, record.processes_left = ended.seconds, ended.left
            record.seen = last_lines(ended.output)
            if found:
                record.sentence, record.named_by = found.text, found.where
            self._show(record, fault)
            self._cure(record, fault, scratch)
        return record

    def _cure(self, record: FaultRecord, fault: Fault, scratch: Path) -> None:
        """Run the cure, unless another fault's cure was the same command with nothing prepared for it."""
        command = record.cure_command
        self._console.out(f"$ {command}")
        is_shared = not (fault.prepare or fault.cured_act)
        ended, is_complete = self._cured.get(command, (None, False)) if is_shared else (None, False)
        if ended is None:
            ended = run(command, scratch, fault.cured_act, fault.limit)
            record.processes_left += ended.left
            left = [*records_in(scratch / "results"), *records_in(scratch / "cured")]
            is_complete = all(one.status == "completed" for one in left[-1:])
        if is_shared:
            self._cured[command] = ended, is_complete
        # Where the fault is caused again, and cured by what survives it, the sentence belongs there.
        still_named = not fault.cured_act and sentence(fault.named, ended.output, scratch / "nothing")
        record.cure_seconds, record.cured = ended.seconds, bool(ended.code == 0 and is_complete and not still_named)
        if record.cured:
            self._say("faults.cured", seconds=ended.seconds)
        else:
            self._say("faults.not_cured", code=ended.code, style="red")
            self._lines(last_lines(ended.output))

    def _show(self, record: FaultRecord, fault: Fault) -> None:
        self._say("faults.seen", style="dim")
        self._lines(record.seen)
        if record.named_by:
            self._say(f"faults.named_by_{record.named_by}", style="dim")
            self._console.print(f"    [bold]{escape(record.sentence)}")
        else:
            self._say("faults.not_named", style="red")
        self._say("faults.cure", cure=self._of(fault, "cure"))

    def _enter(self, record: FaultRecord) -> None:
        self._done.append(record)
        write_record(self._folder, record)

    def _summary(self) -> None:
        if self._done:
            self._console.print()
            self._console.print(fault_table(self._done, self._words))

    def _lines(self, lines: Sequence[str]) -> None:
        for line in lines:
            self._console.print(f"    [dim]│[/] {escape(line)}")

    def _of(self, fault: Fault, what: str) -> str:
        return self._words.say(f"fault.{fault.id}.{what}")

    def _say(self, id: str, style: str = "", **values) -> None:
        self._console.print(escape(self._words.say(id, **values)), style=style)
