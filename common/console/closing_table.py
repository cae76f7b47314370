"""What a run came to, in a small table at its end."""

from __future__ import annotations

from pathlib import Path

from rich.cells import cell_len, set_cell_size
from rich.console import Console

from common.console.earlier_runs import ratios_to_earlier
from common.console.grids import pairs_grid
from common.console.screen import rate_text
from common.formats import gib
from common.messages import message
from common.records import Record, epoch_seconds, throughput
from common.sentences import Sentences

SUMMARY_ROWS = {
    "epoch_time": message("time per epoch"),
    "throughput": message("throughput"),
    "speed_up": message("speed-up"),
    "skipped": message("skipped"),
    "peak_memory": message("peak memory"),
    "record": message("record"),
    "next": message("next"),
}


def show_summary(console: Console, record: Record, path: Path, next_command: str, words: Sentences) -> None:
    """The closing table of a run that completed."""
    times = epoch_seconds(record)
    ratios = [] if console.quiet else ratios_to_earlier(record, path.parent, words)
    count = len(record.unreadable_files)
    skipped = words.translate("{count} images that cannot be decoded; the record names them", count=count)
    rows = {
        "epoch_time": [
            words.translate("{seconds:.2f} s (mean of {count})", seconds=sum(times) / len(times), count=len(times))
        ],
        "throughput": [rate_text(throughput(record), record.config, words)],
        "speed_up": ratios,
        "skipped": [f"[yellow]{skipped}"] if count else [],
        "peak_memory": [_memory(record, position, words) for position in range(len(record.devices))],
    }
    names = {id: words.text(SUMMARY_ROWS[id]) for id in (*rows, "record", "next")}
    table = pairs_grid()
    for id, lines in rows.items():
        for place, line in enumerate(lines):
            table.add_row("" if place else f"  [dim]{names[id]}", line)
    console.print()
    console.print(table)
    # Outside the table, which would break a path or a command in two and make it useless to copy.
    width = max(cell_len(names[id]) for id, lines in rows.items() if lines) + 2
    for id, text in (("record", str(path)), ("next", next_command)):
        console.print(f"  [dim]{set_cell_size(names[id], width)}[/]", end="")
        console.print(text, markup=False, soft_wrap=True)


def _memory(record: Record, position: int, words: Sentences) -> str:
    memory = record.devices[position].memory
    if record.world.device_kind == "cuda":
        peaks = {"allocated": gib(memory.peak_allocated_bytes), "reserved": gib(memory.peak_reserved_bytes)}
        text = words.translate("{allocated} allocated, {reserved} reserved", **peaks)
    elif memory.peak_process_bytes is None:
        text = words.translate("in the process of device 0")
    else:
        text = words.translate("{bytes:GiB} resident in its process", bytes=memory.peak_process_bytes)
    return words.translate("device {number}: {memory}", number=position, memory=text)
