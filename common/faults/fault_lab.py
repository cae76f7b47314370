"""Causes fault after fault: shows what a user sees, what the lab says of it, and that the cure cures."""

from __future__ import annotations

import secrets
import socket
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from time import monotonic

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from common.analysis.page.wording import Wording
from common.faults.command import Ended, last_lines, naming_sentence, records_in, run
from common.faults.fault import Fault, missing
from common.formats import FORMATS
from common.records import FaultRecord
from common.records.disk import check_writable, write_record


class FaultLab:
    """Faults, caused one after another in the current folder; a record of each goes to `results`/faults."""

    def __init__(self, faults: Sequence[Fault], results: Path, words: Wording) -> None:
        self._faults, self._folder, self._words = faults, results / "faults", words
        self._console = Console(highlight=False, soft_wrap=True)
        self._records: list[FaultRecord] = []
        self._cures: dict[str, tuple[Ended, bool]] = {}
        """Cures that have been run, and whether their record is complete: several faults have the same one."""

    def run(self) -> int:
        """Cause them all. Returns 0 where each was named and cured or could not be caused here, 1 where one was not,
        130 after Ctrl-C. Raises `UsageError` where no record can be written."""
        check_writable(self._folder)
        started = monotonic()
        try:
            for number, fault in enumerate(self._faults, 1):
                self._say("faults.heading", number=number, count=len(self._faults), elapsed=monotonic() - started,
                          title=self._words.translate(f"fault.{fault.id}.title"), style="bold")  # fmt: skip
                record = self._cause(fault)
                self._records.append(record)
                write_record(self._folder, record)
        except KeyboardInterrupt:
            rest = " ".join(fault.id for fault in self._faults[len(self._records) :])
            self._show_table()
            print(self._words.translate("faults.stopped", folder=self._folder, rest=rest), file=sys.stderr)
            return 130
        self._show_table()
        self._say("faults.over", seconds=monotonic() - started, folder=self._folder)
        return 0 if all(record.missing or record.is_solved for record in self._records) else 1

    def _cause(self, fault: Fault) -> FaultRecord:
        now, need = datetime.now(UTC), missing(fault)
        fault = fault if need else fault.for_this_machine()
        record = FaultRecord(
            run_id=f"fault_{fault.id}_{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}",
            fault=fault.id,
            started_at=now.isoformat(timespec="seconds"),
            hostname=socket.gethostname(),
            torch=version("torch"),
            missing=need,
            command=fault.start,
            cure_command=fault.cured,
        )
        if need:
            self._say("faults.skipped", need=need, style="yellow")
            return record
        with tempfile.TemporaryDirectory(prefix="lab-fault-") as name:
            scratch = Path(name)
            if fault.prepare:
                fault.prepare(scratch)
            self._console.out(f"$ {fault.start}")
            ended = run(fault.start, scratch, fault.act, fault.limit)
            record.seconds, record.processes_left, record.seen = ended.seconds, ended.left, last_lines(ended.output)
            if sentence := naming_sentence(fault.named, ended.output, scratch / "results"):
                record.sentence, record.named_by = sentence.text, sentence.where
            self._show(record)
            self._cure(record, fault, scratch)
        return record

    def _cure(self, record: FaultRecord, fault: Fault, scratch: Path) -> None:
        """Run the cure, unless another fault's cure was the same command with nothing prepared for it."""
        self._console.out(f"$ {fault.cured}")
        is_shared = not (fault.prepare or fault.cured_act)
        if is_shared and fault.cured in self._cures:
            ended, is_complete = self._cures[fault.cured]
        else:
            ended = run(fault.cured, scratch, fault.cured_act, fault.limit)
            record.processes_left += ended.left
            runs = [*records_in(scratch / "results"), *records_in(scratch / "cured")]
            is_complete = all(run.status == "completed" for run in runs[-1:])
        if is_shared:
            self._cures[fault.cured] = ended, is_complete
        # Where the fault is caused again, and cured by what survives it, the sentence belongs there.
        still_named = not fault.cured_act and naming_sentence(fault.named, ended.output, None)
        record.cure_seconds, record.cured = ended.seconds, bool(ended.code == 0 and is_complete and not still_named)
        if record.cured:
            self._say("faults.cured", seconds=ended.seconds)
        else:
            self._say("faults.not_cured", code=ended.code, style="red")
            self._show_lines(last_lines(ended.output))

    def _show(self, record: FaultRecord) -> None:
        self._say("faults.seen", style="dim")
        self._show_lines(record.seen)
        if record.named_by:
            self._say(f"faults.named_by_{record.named_by}", style="dim")
            self._console.print(f"    [bold]{escape(record.sentence)}")
        else:
            self._say("faults.not_named", style="red")
        self._say("faults.cure", cure=self._words.translate(f"fault.{record.fault}.cure"))

    def _show_table(self) -> None:
        """A line for each fault: was it named, was it cured, how long did both take; or why it was not caused."""
        if not self._records:
            return
        words, table = self._words, Table(box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column(words.translate("faults.fault"), no_wrap=True)
        table.add_column(words.translate("faults.named"))
        table.add_column(words.translate("faults.cured_column"), no_wrap=True)
        table.add_column(words.translate("faults.seconds"), no_wrap=True, justify="right")
        no = f"[red]{words.translate('bool.false')}"
        for record in self._records:
            if record.missing:
                table.add_row(record.fault, words.translate("faults.skipped", need=record.missing))
                continue
            named = words.translate(f"faults.by_{record.named_by}") if record.named_by else no
            cured = words.text(True) if record.cured else no
            if record.processes_left:
                cured += f" [red]{words.translate('faults.left', count=record.processes_left)}"
            table.add_row(record.fault, named, cured, FORMATS["s"](record.seconds + record.cure_seconds))
        self._console.print()
        self._console.print(table)

    def _show_lines(self, lines: Sequence[str]) -> None:
        for line in lines:
            self._console.print(f"    [dim]│[/] {escape(line)}")

    def _say(self, id: str, style: str = "", **values) -> None:
        self._console.print(escape(self._words.translate(id, **values)), style=style)
