"""What a run says after its epochs: where a step goes, and in a small table what it came to, beside the newest run that
did the same work here."""

from collections.abc import Iterator
from pathlib import Path

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from common.console.run_lines import rate_text
from common.console.screen import INDENT, facts, print_indented
from common.formats import gib
from common.messages import message
from common.records import METHODS, Method, Record, RunConfig, ThreadsOfForward, machine_of, method_order, settings_of
from common.records.disk import record_in
from common.sentences import Sentences

TIMED = {"step": message("step"), "forward": message("forward pass of {samples} samples")}
ALIKE = [name for name, one in settings_of(RunConfig).items() if one.compared == "group" and not one.exempt]
"""Of the configuration: only runs that agree in these are compared, as in step 05."""
SAME_BATCH = {
    "per_device_batch_size": message("{ratio:ratio} × step {step} ({throughput}, same {batch} per device)"),
    "global_batch_size": message("{ratio:ratio} × step {step} ({throughput}, same {batch} in all)"),
}
"""How runs are compared, the better way first."""
MAX_READ = 20
"""Files that are looked into for each earlier step, the newest first: a folder may hold thousands."""


def profile_line(steps: int, step_seconds: float | None, words: Sentences) -> str:
    """That extra steps follow, and about how long they take."""
    if step_seconds is None:
        return words.translate("where a step goes: {count} extra steps", count=steps)
    seconds = max(1, round(steps * step_seconds))
    return words.translate("where a step goes: {count} extra steps, about {seconds} s", count=steps, seconds=seconds)


def new_thread_lines_of(threads: ThreadsOfForward, words: Sentences) -> list[str]:
    """What a new thread costs one device, and which layers pay: medians."""
    main, new, kept = (1000 * seconds for seconds in threads.median_seconds.values())
    cost = message(
        "forward pass in a new thread: {new:.1f} ms a {what}, in the main thread {main:.1f}, in a kept one {kept:.1f}",
        what=TIMED[threads.timed].with_values(samples=threads.samples),
        main=main,
        new=new,
        kept=kept,
    )
    paying, convolutions = threads.paying, threads.convolutions
    who = message(
        "{paying} of {convolutions} convolutions are slower in a new thread, {different} differ in shape; "
        "other layers that are slower: {others}",
        paying=sum(layer.is_convolution for layer in paying),
        convolutions=len(convolutions),
        different=sum(not layer.same_as for layer in convolutions),
        others=sum(not layer.is_convolution for layer in paying),
    )
    return words.lines([cost, who] if paying else [cost])


def show_summary(console: Console, record: Record, path: Path, next_command: str, words: Sentences) -> None:
    """The closing table of a run that completed."""
    times, skipped = record.epoch_seconds, len(record.unreadable_files)
    mean = message("{seconds:.2f} s (mean of {count})", seconds=sum(times) / len(times), count=len(times))
    unreadable = words.counted(
        skipped,
        "{count} image that cannot be decoded; the record names it",
        "{count} images that cannot be decoded; the record names them",
    )
    memory = "\n".join(_memory(record, place, words) for place in range(len(record.devices)))
    lines = [
        (message("time per epoch"), mean),
        (message("throughput"), rate_text(record.throughput, record.config, words)),
        (message("speed-up"), "" if console.quiet else "\n".join(ratios_to_earlier(record, path.parent, words))),
        (message("skipped"), Text(unreadable, style="yellow") if skipped else ""),
        (message("peak memory"), memory),
    ]
    lines = [(name, value) for name, value in lines if value]
    console.print()
    print_indented(console, facts(lines, words))
    # Outside the table, which would break a path or a command in two and make it useless to copy.
    width = max(cell_len(words.text(name)) for name, _ in lines) + INDENT
    for name, text in ((words.translate("record"), str(path)), (words.translate("next"), next_command)):
        console.print(f"  [dim]{set_cell_size(name, width)}[/]", end="")
        console.print(text, markup=False, soft_wrap=True)


def _memory(record: Record, position: int, words: Sentences) -> str:
    memory = record.devices[position].memory
    text = message("in the process of device 0")
    if record.world.device_kind == "cuda":
        peaks = {"allocated": gib(memory.peak_allocated_bytes), "reserved": gib(memory.peak_reserved_bytes)}
        text = message("{allocated} allocated, {reserved} reserved", **peaks)
    elif memory.peak_process_bytes is not None:
        text = message("{bytes:GiB} resident in its process", bytes=memory.peak_process_bytes)
    return words.translate("device {number}: {memory}", number=position, memory=text)


def ratios_to_earlier(record: Record, folder: Path, words: Sentences) -> list[str]:
    """`0.66 × step 02 (1,693 samples/s, same 64 per device)`, for each earlier step of which there is such a run."""
    lines, (form, each) = [], record.config.rate
    for method in list(METHODS)[: method_order(record.method)]:
        for field, sentence in SAME_BATCH.items():
            batch = getattr(record.config, field)
            same = (one for one in _alike(record, folder, method) if getattr(one.config, field) == batch)
            if other := next(same, None):
                speed = words.number(form, each * other.throughput)
                values = {"step": other.step, "throughput": speed, "batch": batch}
                lines.append(words.text(sentence.with_values(ratio=record.throughput / other.throughput, **values)))
                break
    return lines


def _alike(record: Record, folder: Path, method: Method) -> Iterator[Record]:
    """Runs of this method that did the same work on as many devices of the same machine, the newest first."""
    start = f"{METHODS[method].step}_{method}_{record.config.model}_"
    devices = record.world.devices if METHODS[method].is_parallel else 1
    files = [path for path in folder.iterdir() if path.name.startswith(start) and path.suffix == ".json"]
    for path in sorted(files, key=lambda path: path.name.rpartition("_")[2], reverse=True)[:MAX_READ]:
        other = record_in(path, Record)
        if (
            other
            and other.status == "completed"
            and other.throughput
            and (other.world.devices, other.world.device_model) == (devices, record.world.device_model)
            and machine_of(other.environment) == machine_of(record.environment)
            and all(getattr(record.config, name) == getattr(other.config, name) for name in ALIKE)
            and not other.failed_parity
        ):
            yield other
