"""Faults to cause and to cure: `python -m lessons.fault_lab rank_killed`, or `make faults` for all of them."""

import re
import secrets
import signal
import socket
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from time import monotonic
from typing import Literal

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from common.command_line.machine_queue import QUEUE_HELP, queue_folder, taking_turns
from common.command_line.parser import Parser, start
from common.errors import UsageError
from common.formats import FORMATS, printable
from common.records import FaultRecord, Record
from common.records.disk import check_writable, write_record
from common.sentences import Sentences, language_of
from lessons.fault_lab.acts import Ended, run
from lessons.fault_lab.fault import Fault, all_faults, missing

MAX_LINES, MAX_LETTERS = 6, 400
TWO_LINES = re.compile(r"(?m)^(• .*?) *\n(?=[^•\s])")
"""Step 05 breaks its sentences at the console's width: what does not begin one belongs to the line before."""


def cause_faults() -> int:
    """All faults, or those that are asked for."""
    parser = Parser(prog="python -m lessons.fault_lab", description=__doc__)
    parser.add_argument("name", nargs="*", help="which; all, if none is given")
    parser.add_argument("--list", action="store_true", help="only print their names and what they are")
    parser.add_argument("--results-dir", type=Path, default=Path("results"), metavar="DIR",
                        help="their records go to DIR/faults")  # fmt: skip
    parser.add_argument("--queue", default=queue_folder(), metavar="FOLDER", help=QUEUE_HELP)
    options, words = parser.parse_args(), Sentences(language_of())
    faults = all_faults()
    if unknown := [name for name in options.name if name not in faults]:
        raise UsageError(f"no fault is called {unknown[0]!r}: --list prints the names")
    chosen = [faults[name] for name in options.name or faults]
    if options.list:
        for fault in chosen:
            print(f"{fault.id:24}{words.translate(f'fault.{fault.id}.title')}")
        return 0
    with taking_turns("make faults", options.queue, partial(print, flush=True)):
        for ending in (signal.SIGTERM, signal.SIGHUP):  # as Ctrl-C: nothing that was started is left behind
            signal.signal(ending, signal.default_int_handler)
        return FaultLab(chosen, options.results_dir, words).run()


class FaultLab:
    """Causes fault after fault in the current folder: shows what a user sees, what the lab says of it, and that the
    cure cures. A record of each goes to `results`/faults."""

    def __init__(self, faults: Sequence[Fault], results: Path, words: Sentences) -> None:
        self._faults, self._folder, self._words = faults, results / "faults", words
        self._console = Console(highlight=False, emoji=False, soft_wrap=True)
        self._cures: dict[tuple, tuple[Ended, bool]] = {}
        """Cures that have been run, and whether their record is complete: several faults have the same one."""

    def run(self) -> int:
        """Cause them all. Returns 0 where each was named and cured or could not be caused here, 1 where one was not,
        130 after Ctrl-C. Raises `UsageError` where no record can be written."""
        check_writable(self._folder)
        started = monotonic()
        records: list[FaultRecord] = []
        try:
            for number, fault in enumerate(self._faults, 1):
                self._say("faults.heading", number=number, count=len(self._faults), elapsed=monotonic() - started,
                          title=self._words.translate(f"fault.{fault.id}.title"), style="bold")  # fmt: skip
                records.append(self._cause(fault))
                write_record(self._folder, records[-1])
        except KeyboardInterrupt:
            rest = " ".join(fault.id for fault in self._faults[len(records) :])
            self._show_table(records)
            print(self._words.translate("faults.stopped", folder=self._folder, rest=rest), file=sys.stderr)
            return 130
        self._show_table(records)
        self._say("faults.over", seconds=monotonic() - started, folder=self._folder)
        return 0 if all(record.missing or record.is_solved for record in records) else 1

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
            record.sentence, record.named_by = naming_sentence(fault.named, ended.output, scratch / "results")
            self._show(record)
            self._cure(record, fault, scratch)
        return record

    def _cure(self, record: FaultRecord, fault: Fault, scratch: Path) -> None:
        """Run the cure, unless another fault's cure was the same command with the same preparation."""
        self._console.out(f"$ {fault.cured}")
        cure = fault.cured, fault.prepare, fault.cured_act
        if cure not in self._cures:
            ended = run(fault.cured, scratch, fault.cured_act, fault.limit)
            record.processes_left += ended.left
            runs = [*records_in(scratch / "results"), *records_in(scratch / "cured")]
            self._cures[cure] = ended, all(run.status == "completed" for run in runs[-1:])
        ended, is_complete = self._cures[cure]
        # Where the fault is caused again, and cured by what survives it, the sentence belongs there.
        _, still_named = ("", None) if fault.cured_act else naming_sentence(fault.named, ended.output)
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

    def _show_table(self, records: Sequence[FaultRecord]) -> None:
        """A line for each fault: was it named, was it cured, how long did both take; or why it was not caused."""
        if not records:
            return
        words, table = self._words, Table(box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column(words.translate("faults.fault"), no_wrap=True)
        table.add_column(words.translate("faults.named"))
        table.add_column(words.translate("faults.cured_column"), no_wrap=True)
        table.add_column(words.translate("faults.seconds"), no_wrap=True, justify="right")
        no = f"[red]{words.translate('bool.false')}"
        for record in records:
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


def naming_sentence(
    pattern: str, output: str, results: Path | None = None
) -> tuple[str, Literal["record", "console"] | None]:
    """The line with the pattern, and where it stands: in the newest record's failure in `results`, or else the last
    one of the output; None where nothing names the fault."""
    for record in reversed(records_in(results) if results else []):
        if record.failure:
            text = f"{record.failure.message.rstrip('.')}. {record.failure.advice}"
            if re.search(pattern, text):
                return printable(text), "record"
    unfolded = TWO_LINES.sub(r"\1 ", TWO_LINES.sub(r"\1 ", output))
    lines = [line.strip() for line in unfolded.splitlines() if re.search(pattern, line)]
    return (printable(lines[-1])[:MAX_LETTERS], "console") if lines else ("", None)


def records_in(results: Path) -> list[Record]:
    """The records that runs have left, in the order of their start."""
    records = [Record.model_validate_json(path.read_bytes()) for path in results.glob("0[234]_*.json")]
    return sorted(records, key=lambda record: record.started_at)


def last_lines(output: str) -> list[str]:
    """What a user sees last: lines of an acceptable length, without what would steer the terminal."""
    lines = [printable(line.strip())[:MAX_LETTERS] for line in output.splitlines()]
    return [line for line in lines if line][-MAX_LINES:]


if __name__ == "__main__":
    start(cause_faults)
