"""What a run says: in a table what it is about to do, then a line for each thing that it has done."""

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from common.console.screen import facts, print_part
from common.messages import Message, message, message_in
from common.records import Epoch, Parity, Record, Resumed, RunConfig, Validation, World, unusual_settings
from common.records.methods import METHODS, TrainingMethod
from common.sentences import Sentences

FLAGS = {
    "emulated": message("emulated: CPU threads play the GPUs of DataParallel; its cost differs from that on GPUs"),
    "shared": message("shared: several replicas or ranks on one GPU take turns; this is not scaling"),
    "oversubscribed": message("oversubscribed: {devices} devices take turns on fewer cores; this is not scaling"),
    "unlike": message(
        "devices of several kinds: the slowest one decides the speed of all, and none of them is a baseline"
    ),
}
OPTIMIZERS = {
    "sgd": message("SGD, learning rate {rate:.4g}, momentum {momentum:g}"),
    "adamw": message("AdamW, learning rate {rate:.4g}, weight decay {decay:g}"),
}
LOSS_IS_LOST = message(
    "the loss is NaN or infinite, and the weights are lost: lower --lr, and look at the last epoch before"
)


def show_plan(console: Console, words: Sentences, record: Record) -> None:
    """What the run is about to do, as it was entered into its record."""
    method = METHODS[record.method]
    notes = _notes(method, record.world, record.resumed, words)
    lines = [*_plan(record, words), *((message("note"), Text(words.text(note), style="yellow")) for note in notes)]
    print_part(console, method.title if method.is_parallel else words.translate("Training on one device"),
               facts(lines, words))  # fmt: skip
    console.print()


def _plan(record: Record, words: Sentences) -> Iterator[tuple[Message, Any]]:
    config = record.config
    yield message("model"), _model(config, record.optimizer)
    yield message_in("plan", "devices"), _devices(METHODS[record.method], record.world, words)
    batch = message(
        "{total} global, {each} per device", total=config.global_batch_size, each=config.per_device_batch_size
    )
    if (parts := config.accumulation_steps) > 1:
        in_parts = message("{batch}; {count} micro-batches of {size} one after another")
        batch = in_parts.with_values(batch=batch, count=parts, size=config.micro_batch_size)
    yield message("batch"), batch
    epochs = words.counted(config.epochs, "{count} epoch", "{count} epochs")
    samples = message("{count} an epoch, {epochs}", count=config.samples_per_epoch, epochs=epochs)
    if config.data_dir or config.data:
        samples = message("{samples}, of {source}", samples=samples, source=config.data_source)
    yield message_in("plan", "samples"), samples
    steps = words.counted(config.warmup_steps, "{count} step", "{count} steps")
    yield message("warm-up"), message("{steps}, not counted", steps=steps)
    yield message("precision"), config.precision
    in_other_rows = ("num-classes", "accumulation-steps", "sample", "sequence-length", "optimizer")
    beyond_defaults = [
        one.flag + ("" if value is True else " off" if value is False else f" {value}")
        for one, value in unusual_settings(config) + (unusual_settings(config.ddp) if config.ddp else [])
        if one.flag not in in_other_rows
    ]
    if beyond_defaults:
        yield message("practice"), words.listed(beyond_defaults)


def _model(config: RunConfig, optimizer: str) -> Message:
    inputs: Message | str
    if config.image_size:
        inputs = message("{size} px images, {classes} classes", size=config.image_size, classes=config.num_classes)
    elif config.unit == "tokens":
        inputs = message("sequences of {count} tokens", count=config.units_per_sample)
    else:
        inputs = config.sample or message("samples of its own")
    known = OPTIMIZERS.get(config.optimizer)
    rates = {"rate": config.learning_rate, "momentum": config.momentum, "decay": config.weight_decay}
    described = known.with_values(**rates) if known else optimizer
    return message("{model}, {inputs}, {optimizer}", model=config.model, inputs=inputs, optimizer=described)


def _devices(method: TrainingMethod, world: World, words: Sentences) -> Message | str:
    devices: Message | str = words.device(world.device_model)
    if world.has_unlike_devices and world.device_kind == "cuda":
        gpus = words.counted(world.devices, "1 GPU", "{count} GPUs")
        devices = message("{what} ({model})", what=gpus, model=devices)
    elif world.devices > 1:
        devices = message("{count} × {model}", count=world.devices, model=devices)
    if method.launcher == "python":
        return devices
    processes = words.counted(world.processes, "{count} process", "{count} processes")
    return message(
        "{devices} in {processes} over {backend}", devices=devices, processes=processes, backend=world.backend
    )


def _notes(method: TrainingMethod, world: World, resumed: Resumed | None, words: Sentences) -> Iterator[Message]:
    """What keeps this run from being scaling, and what came before it."""
    for flag in (*world.flags, *(["unlike"] if world.has_unlike_devices else [])):
        yield FLAGS[flag].with_values(devices=world.devices)
    if method.launcher == "torchrun" and world.processes == 1:
        yield message(
            "one process only: DDP has nobody to exchange gradients with; torchrun --nproc_per_node=N starts one for "
            "each of N devices"
        )
    if world.restarts:
        yield message("restarted by torchrun, {times} so far", times=world.restarts)
    if resumed:
        steps = words.counted(resumed.steps_done, "{count} step", "{count} steps")
        within = message("epoch {epoch}, after {steps}") if resumed.steps_done else message("epoch {epoch}")
        where = within.with_values(epoch=resumed.epoch, steps=steps)
        yield message("goes on from {file}: {where}", file=resumed.file, where=where)
        for reason in resumed.skipped:
            yield message("a newer checkpoint was left out: {reason}", reason=reason)


def parity_line(parity: Parity, words: Sentences) -> str:
    """The outcome of the parity check."""
    if parity.outcome == "not applicable" and parity.shards > 1:
        return words.translate("parity: not compared: {note}", note=parity.note)
    if parity.outcome == "not applicable":
        return words.translate("parity: not applicable, one device is the reference itself")
    error = parity.max_relative_error
    details = message(
        "largest relative gradient error {error} (tolerance {tolerance:.0e}, {seconds:.1f} s)",
        error=message("not finite") if error is None else f"{error:.1e}",
        tolerance=parity.tolerance,
        seconds=parity.seconds,
    )
    if parity.note:
        details = message("{text}; {note}", text=details, note=parity.note)
    if parity.outcome == "passed":
        return words.translate("parity: passed, {details}", details=details)
    return "[red]" + words.translate("parity: FAILED, {details}", details=details)


def epoch_line(epoch: Epoch, config: RunConfig, seconds: float, words: Sentences) -> str:
    """One finished epoch; `seconds` is this rank's. A model learns few synthetic images by heart: it is said."""
    line = message(
        "{epoch}: {steps}, {seconds:.2f} s, {rate}, loss {loss}",
        epoch=message("epoch {epoch}/{epochs}", epoch=epoch.epoch, epochs=config.epochs),
        steps=words.counted(epoch.steps, "{count} step", "{count} steps"),
        seconds=seconds,
        rate=rate_text(epoch.samples / seconds if seconds else 0.0, config, words),
        loss=message("not finite") if epoch.mean_loss is None else f"{epoch.mean_loss:.3f}",
    )
    is_synthetic = config.data_source == "synthetic" and config.image_size > 0
    return words.text(message("{epoch} (synthetic images)", epoch=line) if is_synthetic else line)


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
    return "  " + words.translate(
        "validation: top-1 {top1:.1%}, top-5 {top5:.1%} of {samples} images, {seconds:.2f} s",
        **validation.model_dump(),
    )
