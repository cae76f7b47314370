"""What the scripts say: progress, tables, messages. Rank 0 speaks, the others are given a console that is silent."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from time import monotonic

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from common.console.earlier_runs import ratios_to_earlier
from common.formats import gib
from common.records import (
    FORWARD_THREADS,
    Epoch,
    Parity,
    Record,
    RunConfig,
    ThreadsOfForward,
    Validation,
    epoch_seconds,
    pays_for_new_threads,
    throughput,
)
from common.sentences import Sentences


def open_console(rank: int = 0, quiet: bool = False) -> Console:
    """The console of this process: silent on every rank but 0, and everywhere under `--quiet`.

    Where there is no terminal (a pipe, a log) lines are 120 characters wide, so that tables do not break at 80.
    """
    plain = Console()
    return Console(quiet=quiet or rank != 0, highlight=False, width=None if plain.is_terminal else 120)


class TrainingProgress:
    """A bar on a terminal; elsewhere a plain line per epoch.

    The bar is drawn by the training thread, at most twice a second: a drawing thread of its own would take time from
    a CPU core that is being measured.
    """

    SECONDS_BETWEEN_DRAWINGS = 0.5

    def __init__(self, console: Console) -> None:
        self._console = console
        columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=console, auto_refresh=False, transient=True)
        self._drawn = 0.0
        self._task: TaskID | None = None
        self._drawable = console.is_terminal and not console.quiet
        if self._drawable:
            self._bar.start()

    def phase(self, name: str, steps: int) -> None:
        """A new phase of `steps` optimizer steps begins."""
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task(name, total=steps)

    def advance(self) -> None:
        """One step of the phase is done."""
        self._bar.advance(self._task)
        if self._drawable and monotonic() - self._drawn > self.SECONDS_BETWEEN_DRAWINGS:
            self._drawn = monotonic()
            self._bar.refresh()

    def line(self, text: str) -> None:
        """A line that stays, above the bar."""
        self._console.print(f"  {text}", soft_wrap=True)

    def close(self) -> None:
        """Take the bar off the screen."""
        if self._drawable:
            self._bar.stop()


def profile_line(steps: int, step_seconds: float | None, words: Sentences) -> str:
    """That extra steps follow, and about how long they take."""
    if step_seconds is None:
        return words.translate("progress.steps_apart", count=steps)
    return words.translate("progress.steps_apart_for", count=steps, seconds=max(1, round(steps * step_seconds)))


def new_thread_lines_of(found: ThreadsOfForward, words: Sentences) -> list[str]:
    """What a new thread costs one device, and which layers pay: medians."""
    main, new, kept = (1000 * median(found.passes.seconds[kind]) for kind in FORWARD_THREADS)
    what = words.translate(f"progress.timed_{found.timed}", samples=found.samples)
    lines = [words.translate("progress.new_thread", what=what, main=main, new=new, kept=kept)]
    convolutions = [layer for layer in found.layers if layer.is_convolution]
    paying = [layer for layer in found.layers if pays_for_new_threads(layer)]
    if paying:
        counts = {
            "paying": sum(layer.is_convolution for layer in paying),
            "convolutions": len(convolutions),
            "different": sum(not layer.same_as for layer in convolutions),
            "others": sum(not layer.is_convolution for layer in paying),
        }
        lines.append(words.translate("progress.new_thread_layers", **counts))
    return lines


def parity_line(parity: Parity, words: Sentences) -> str:
    """The outcome of the parity check."""
    if parity.outcome == "not applicable":
        id = "progress.parity_not_comparable" if parity.shards > 1 else "progress.parity_of_one_device"
        return words.translate(id, note=parity.note)
    error = parity.max_relative_error
    written = words.translate("cell.not_finite") if error is None else f"{error:.1e}"
    values = {"error": written, "tolerance": parity.tolerance, "seconds": parity.seconds}
    details = words.translate("progress.parity_details", **values)
    if parity.note:
        details = words.translate("progress.noted", text=details, note=parity.note)
    line = words.translate(f"progress.parity_{parity.outcome}", details=details)
    return line if parity.outcome == "passed" else f"[red]{line}"


def epoch_line(epoch: Epoch, config: RunConfig, seconds: float, words: Sentences) -> str:
    """One finished epoch; `seconds` is this rank's. A model learns few synthetic images by heart: it is said."""
    line = words.translate(
        "progress.epoch_done",
        epoch=words.translate("progress.epoch", epoch=epoch.epoch, epochs=config.epochs),
        steps=words.counted(epoch.steps, "counted.step"),
        seconds=seconds,
        rate=rate_text(epoch.samples / seconds if seconds else 0.0, config, words),
        loss=words.translate("cell.not_finite") if epoch.mean_loss is None else f"{epoch.mean_loss:.3f}",
    )
    is_synthetic = config.data_source == "synthetic" and config.image_size > 0
    return words.translate("progress.epoch_of_synthetic", epoch=line) if is_synthetic else line


def rate_text(samples_per_second: float, config: RunConfig, words: Sentences) -> str:
    """A speed in what the model counts."""
    if config.unit == "tokens":
        return words.translate("summary.tokens_a_second", rate=samples_per_second * config.units_per_sample)
    return words.translate("summary.samples_a_second", rate=samples_per_second)


def warning(text: str) -> str:
    """A line of its own below that of an epoch."""
    return f"[yellow]  {escape(text)}"


def validation_line(validation: Validation | None, words: Sentences) -> str:
    """What the model got right on images that it has not trained on."""
    if validation is None:
        return warning(words.translate("progress.no_validation"))
    values = {"top1": validation.top1, "top5": validation.top5, "samples": validation.samples}
    return f"  {words.translate('progress.validation', seconds=validation.seconds, **values)}"


def show_summary(console: Console, record: Record, path: Path, next_command: str, words: Sentences) -> None:
    """The closing table of a run that completed."""
    times = epoch_seconds(record)
    ratios = [] if console.quiet else ratios_to_earlier(record, path.parent, words)
    count = len(record.unreadable_files)
    rows = {
        "epoch_time": [words.translate("summary.epoch_time", seconds=sum(times) / len(times), count=len(times))],
        "throughput": [rate_text(throughput(record), record.config, words)],
        "speed_up": ratios,
        "skipped": [f"[yellow]{words.translate('summary.skipped', count=count)}"] if count else [],
        "peak_memory": [_memory(record, position, words) for position in range(len(record.devices))],
    }
    names = {id: words.translate(f"summary_row.{id}") for id in (*rows, "record", "next")}
    table = Table.grid(padding=(0, 2))
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
        text = words.translate("summary.allocated", **peaks)
    elif memory.peak_process_bytes is None:
        text = words.translate("summary.in_process_of_0")
    else:
        text = words.translate("summary.resident", bytes=memory.peak_process_bytes)
    return words.translate("summary.device", number=position, memory=text)
