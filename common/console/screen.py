"""What the scripts say: progress, tables, messages. Rank 0 speaks, the others are given a console that is silent."""

from __future__ import annotations

from statistics import median
from time import monotonic

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from common.messages import message
from common.records import (
    FORWARD_THREADS,
    Epoch,
    Parity,
    RunConfig,
    ThreadsOfForward,
    Validation,
)
from common.sentences import Sentences

TIMED = {"step": message("step"), "forward": message("forward pass of {samples} samples")}


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
        return words.translate("where a step goes: {count} extra steps", count=steps)
    return words.translate(
        "where a step goes: {count} extra steps, about {seconds} s",
        count=steps,
        seconds=max(1, round(steps * step_seconds)),
    )


def new_thread_lines_of(threads: ThreadsOfForward, words: Sentences) -> list[str]:
    """What a new thread costs one device, and which layers pay: medians."""
    main, new, kept = (1000 * median(threads.passes.seconds[kind]) for kind in FORWARD_THREADS)
    what = TIMED[threads.timed].with_values(samples=threads.samples)
    lines = [
        words.translate(
            "forward pass in a new thread: {new:.1f} ms a {what}, in the main thread {main:.1f}, in a kept one "
            "{kept:.1f}",
            what=what,
            main=main,
            new=new,
            kept=kept,
        )
    ]
    convolutions = [layer for layer in threads.layers if layer.is_convolution]
    paying = [layer for layer in threads.layers if layer.pays]
    if paying:
        counts = {
            "paying": sum(layer.is_convolution for layer in paying),
            "convolutions": len(convolutions),
            "different": sum(not layer.same_as for layer in convolutions),
            "others": sum(not layer.is_convolution for layer in paying),
        }
        lines.append(
            words.translate(
                "{paying} of {convolutions} convolutions are slower in a new thread, {different} differ in shape; "
                "other layers that are slower: {others}",
                **counts,
            )
        )
    return lines


def parity_line(parity: Parity, words: Sentences) -> str:
    """The outcome of the parity check."""
    if parity.outcome == "not applicable" and parity.shards > 1:
        return words.translate("parity: not compared: {note}", note=parity.note)
    if parity.outcome == "not applicable":
        return words.translate("parity: not applicable, one device is the reference itself")
    error = parity.max_relative_error
    written = words.translate("not finite") if error is None else f"{error:.1e}"
    values = {"error": written, "tolerance": parity.tolerance, "seconds": parity.seconds}
    details = words.translate(
        "largest relative gradient error {error} (tolerance {tolerance:.0e}, {seconds:.1f} s)", **values
    )
    if parity.note:
        details = words.translate("{text}; {note}", text=details, note=parity.note)
    if parity.outcome == "passed":
        return words.translate("parity: passed, {details}", details=details)
    return "[red]" + words.translate("parity: FAILED, {details}", details=details)


LOSS_IS_LOST = message(
    "the loss is NaN or infinite, and the weights are lost: lower --lr, and look at the last epoch before"
)


def epoch_line(epoch: Epoch, config: RunConfig, seconds: float, words: Sentences) -> str:
    """One finished epoch; `seconds` is this rank's. A model learns few synthetic images by heart: it is said."""
    line = words.translate(
        "{epoch}: {steps}, {seconds:.2f} s, {rate}, loss {loss}",
        epoch=words.translate("epoch {epoch}/{epochs}", epoch=epoch.epoch, epochs=config.epochs),
        steps=words.counted(epoch.steps, "{count} step", "{count} steps"),
        seconds=seconds,
        rate=rate_text(epoch.samples / seconds if seconds else 0.0, config, words),
        loss=words.translate("not finite") if epoch.mean_loss is None else f"{epoch.mean_loss:.3f}",
    )
    is_synthetic = config.data_source == "synthetic" and config.image_size > 0
    return words.translate("{epoch} (synthetic images)", epoch=line) if is_synthetic else line


def rate_text(samples_per_second: float, config: RunConfig, words: Sentences) -> str:
    """A speed in what the model counts."""
    if config.unit == "tokens":
        return words.translate("{rate:,.0f} tokens/s", rate=samples_per_second * config.units_per_sample)
    return words.translate("{rate:.1f} samples/s", rate=samples_per_second)


def warning(text: str) -> str:
    """A line of its own below that of an epoch."""
    return f"[yellow]  {escape(text)}"


def validation_line(validation: Validation | None, words: Sentences) -> str:
    """What the model got right on images that it has not trained on."""
    if validation is None:
        return warning(words.translate("validation: none of its images can be decoded"))
    values = {"top1": validation.top1, "top5": validation.top5, "samples": validation.samples}
    return "  " + words.translate(
        "validation: top-1 {top1:.1%}, top-5 {top5:.1%} of {samples} images, {seconds:.2f} s",
        seconds=validation.seconds,
        **values,
    )
