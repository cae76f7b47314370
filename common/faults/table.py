"""A line for each fault, on the console."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table

from common.analysis.page.wording import Wording
from common.formats import FORMS
from common.records import FaultRecord


def fault_table(records: Sequence[FaultRecord], words: Wording) -> Table:
    """Was it named, was it cured, and how long did both take; or why it was not caused."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("fault", "named", "cured_column", "seconds"):
        table.add_column(words.say(f"faults.{name}"), justify="right" if name == "seconds" else "left",
                         no_wrap=name != "named")  # fmt: skip
    for record in records:
        if record.missing:
            table.add_row(record.fault, words.say("faults.skipped", need=record.missing))
            continue
        named = words.say(f"faults.by_{record.named_by}") if record.named_by else f"[red]{words.say('bool.false')}"
        cured = words.text(True) if record.cured else f"[red]{words.say('bool.false')}"
        if record.processes_left:
            cured += f" [red]{words.say('faults.left', count=record.processes_left)}"
        table.add_row(record.fault, named, cured, FORMS["s"](record.seconds + record.cure_seconds))
    return table
