"""What a run came to: a small table at its end, and the newest run that did the same work here beside it."""

from __future__ import annotations

from pathlib import Path

from rich.cells import cell_len, set_cell_size
from rich.console import Console

from common.console.grids import pairs_grid
from common.console.screen import rate_text
from common.formats import gib
from common.messages import message
from common.records import (
    METHODS,
    Method,
    Record,
    RunConfig,
    epoch_seconds,
    machine_of,
    method_order,
    settings_of,
    throughput,
)
from common.records.disk import record_in
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


ALIKE = [name for name, one in settings_of(RunConfig).items() if one.compared == "group" and not one.exempt]
"""Of the configuration: only runs that agree in these are compared, as in step 05."""
SAME_BATCH = {
    "per_device_batch_size": message("{ratio:ratio} × step {step} ({throughput}, same {batch} per device)"),
    "global_batch_size": message("{ratio:ratio} × step {step} ({throughput}, same {batch} in all)"),
}
"""How runs are compared, the better way first."""
MAX_READ = 20
"""Files that are looked into for each earlier step, the newest first: a folder may hold thousands."""


def ratios_to_earlier(record: Record, folder: Path, words: Sentences) -> list[str]:
    """`0.66 × step 02 (1,693 samples/s, same 64 per device)`, for each earlier step of which there is such a run."""
    earlier = list(METHODS)[: method_order(record.method)]
    return [line for method in earlier if (line := _ratio(record, folder, method, words))]


def _ratio(record: Record, folder: Path, method: Method, words: Sentences) -> str | None:
    for field, sentence in SAME_BATCH.items():
        other = _newest(record, folder, method, field)
        if other:
            speed, theirs = throughput(record) or 0.0, throughput(other) or 0.0
            form, each = record.config.rate
            values = {
                "step": METHODS[method].step,
                "throughput": words.number(form, each * theirs),
                "batch": getattr(record.config, field),
            }
            return words.text(sentence.with_values(ratio=speed / theirs, **values))
    return None


def _newest(record: Record, folder: Path, method: Method, field: str) -> Record | None:
    start = f"{METHODS[method].step}_{method}_{record.config.model}_"
    files = [path for path in folder.iterdir() if path.name.startswith(start) and path.suffix == ".json"]
    for path in sorted(files, key=lambda path: path.name.rpartition("_")[2], reverse=True)[:MAX_READ]:
        if (other := record_in(path, Record)) and _does_the_same(record, other, field):
            return other
    return None


def _does_the_same(one: Record, other: Record, field: str) -> bool:
    devices = one.world.devices if METHODS[other.method].is_parallel else 1
    return (
        other.status == "completed"
        and bool(throughput(other))
        and other.world.devices == devices
        and other.world.device_model == one.world.device_model
        and machine_of(other.environment) == machine_of(one.environment)
        and all(getattr(one.config, name) == getattr(other.config, name) for name in (*ALIKE, field))
        and (other.parity is None or other.parity.outcome != "failed")
    )
