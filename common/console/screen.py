"""What the scripts say: progress, tables, messages. Rank 0 speaks, the others are given a console that is silent."""

from __future__ import annotations

from pathlib import Path
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from common.console.beside import ratios_to_earlier
from common.formats import gib
from common.records import Epoch, Parity, Record, Validation, epoch_seconds, throughput


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
        self._task = None
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


def anatomy_line(steps: int, step_seconds: float | None) -> str:
    """That extra steps follow, and about how long they take."""
    seconds = "" if step_seconds is None else f", about {max(1, round(steps * step_seconds))} s"
    return f"where a step goes: {steps} extra steps{seconds}"


def parity_line(parity: Parity) -> str:
    """The outcome of the parity check."""
    if parity.outcome == "not applicable":
        return f"parity: not applicable, {parity.note}"
    error = "not finite" if parity.max_relative_error is None else f"{parity.max_relative_error:.1e}"
    found = f"largest relative gradient error {error} (tolerance {parity.tolerance:.0e}, {parity.seconds:.1f} s)"
    note = f"; {parity.note}" if parity.note else ""
    return f"{'parity: passed' if parity.outcome == 'passed' else '[red]parity: FAILED'}, {found}{note}"


def epoch_line(epoch: Epoch, epochs: int, seconds: float, is_synthetic: bool) -> str:
    """One finished epoch; `seconds` is this rank's. A model learns few synthetic images by heart: it is said."""
    loss = "not finite" if epoch.mean_loss is None else f"{epoch.mean_loss:.3f}"
    rate = epoch.samples / seconds if seconds else 0.0
    of = " (synthetic images)" if is_synthetic else ""
    return f"epoch {epoch.epoch}/{epochs}: {epoch.steps} steps, {seconds:.2f} s, {rate:.1f} samples/s, loss {loss}{of}"


def core_wait_line(share: float) -> str:
    """That other programs slow this run down."""
    return (
        f"[yellow]  waited for a core {share:.0%} of the epoch: other programs use the cores, too; end them, and repeat"
    )


LOSS_IS_LOST = (
    "[yellow]  the loss is no finite number, and the weights are lost: lower --lr, and look at the last epoch before"
)


def validation_line(validation: Validation | None) -> str:
    """What the model got right on images that it has not trained on."""
    if validation is None:
        return "[yellow]  validation: none of its images can be decoded"
    accuracy = f"top-1 {validation.top1:.1%}, top-5 {validation.top5:.1%} of {validation.samples} images"
    return f"  validation: {accuracy}, {validation.seconds:.2f} s"


def show_summary(console: Console, record: Record, path: Path, next_command: str) -> None:
    """The closing table of a run that completed."""
    times = epoch_seconds(record)
    table = Table.grid(padding=(0, 2))
    table.add_row("  [dim]time per epoch", f"{sum(times) / len(times):.2f} s (mean of {len(times)})")
    table.add_row("  [dim]throughput", f"{throughput(record):.1f} samples/s")
    for place, line in enumerate([] if console.quiet else ratios_to_earlier(record, path.parent)):
        table.add_row("" if place else "  [dim]speed-up", line)
    if record.unreadable_files:
        count = len(record.unreadable_files)
        table.add_row("  [dim]skipped", f"[yellow]{count} images that cannot be decoded; the record names them")
    for position in range(len(record.devices)):
        table.add_row("  [dim]peak memory" if position == 0 else "", f"device {position}: {_memory(record, position)}")
    console.print()
    console.print(table)
    # Outside the table, which would break a path or a command in two and make it useless to copy.
    for name, text in (("record", str(path)), ("next", next_command)):
        console.print(f"  [dim]{name:16}[/]", end="")
        console.print(text, markup=False, soft_wrap=True)


def _memory(record: Record, position: int) -> str:
    memory = record.devices[position].memory
    if record.world.device_kind == "cuda":
        return f"{gib(memory.peak_allocated_bytes)} allocated, {gib(memory.peak_reserved_bytes)} reserved"
    if memory.peak_process_bytes is None:
        return "in the process of device 0"
    return f"{gib(memory.peak_process_bytes)} resident in its process"
