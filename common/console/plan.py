"""What a run is about to do, in a small table before it begins."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape

from common.console.grids import pairs_grid
from common.messages import message, message_in
from common.records import METHODS, Record, Resumed, RunConfig, TrainingMethod, World, unusual_settings
from common.sentences import Sentences

FLAGS = {
    "emulated": message("emulated: CPU threads play the GPUs of DataParallel; its cost differs from that on GPUs"),
    "shared": message("shared: several replicas or ranks on one GPU take turns; this is not scaling"),
    "oversubscribed": message("oversubscribed: {devices} devices take turns on fewer cores; this is not scaling"),
    "unlike": message(
        "devices of several kinds: the slowest one decides the speed of all, and none of them is a baseline"
    ),
}
ROWS = {
    "model": message("model"),
    "devices": message_in("plan", "devices"),
    "batch": message("batch"),
    "samples": message_in("plan", "samples"),
    "warm_up": message("warm-up"),
    "precision": message("precision"),
    "practice": message("practice"),
    "note": message("note"),
}
OPTIMIZERS = {
    "sgd": message("SGD, learning rate {rate:.4g}, momentum {momentum:g}"),
    "adamw": message("AdamW, learning rate {rate:.4g}, weight decay {decay:g}"),
}


def flags(world: World, words: Sentences) -> list[str]:
    """What keeps this run from being scaling, in words."""
    names = [*world.flags, *(["unlike"] if world.has_unlike_devices else [])]
    return [words.text(FLAGS[name].with_values(devices=world.devices)) for name in names]


def show_plan(console: Console, words: Sentences, record: Record) -> None:
    """What the run is about to do, as it was entered into its record."""
    method, config, world = METHODS[record.method], record.config, record.world
    rows = {
        "model": _model(config, record.optimizer, words),
        "devices": _devices(method, world, words),
        "batch": _batch(config, words),
        "samples": _samples(config, words),
        "warm_up": words.translate(
            "{steps}, not counted", steps=words.counted(config.warmup_steps, "{count} step", "{count} steps")
        ),
        "precision": config.precision,
    }
    if chosen := practice(config):
        rows["practice"] = words.listed(chosen)
    alone = (
        [
            words.translate(
                "one process only: DDP has nobody to exchange gradients with; torchrun --nproc_per_node=N starts one "
                "for each of N devices"
            )
        ]
        if method.launcher == "torchrun" and world.processes == 1
        else []
    )
    notes = [*flags(world, words), *alone, *_past(world, record.resumed, words)]
    table = pairs_grid()
    for name, text in [*rows.items(), *(("note", note) for note in notes)]:
        table.add_row(f"  [dim]{words.text(ROWS[name])}", f"{'[yellow]' if name == 'note' else ''}{escape(text)}")
    title = method.title if method.is_parallel else words.translate("Training on one device")
    console.print(f"\n[bold]{title}")
    console.print(table)
    console.print()


def _model(config: RunConfig, optimizer: str, words: Sentences) -> str:
    if config.image_size:
        inputs = words.translate(
            "{size} px images, {classes} classes", size=config.image_size, classes=config.num_classes
        )
    elif config.unit == "tokens":
        inputs = words.translate("sequences of {count} tokens", count=config.units_per_sample)
    else:
        inputs = config.sample or words.translate("samples of its own")
    if config.optimizer != "own":
        rates = {"rate": config.learning_rate, "momentum": config.momentum, "decay": config.weight_decay}
        optimizer = words.text(OPTIMIZERS[config.optimizer].with_values(**rates))
    return words.translate("{model}, {inputs}, {optimizer}", model=config.model, inputs=inputs, optimizer=optimizer)


def practice(config: RunConfig) -> list[str]:
    """What was switched on beyond the defaults, by the names of the flags."""
    in_other_rows = ("num-classes", "accumulation-steps", "sample", "sequence-length", "optimizer")
    unusual = [one for one in unusual_settings(config) if one.declared.flag not in in_other_rows]
    if config.ddp:
        unusual += unusual_settings(config.ddp)
    return [
        one.declared.flag + ("" if one.value is True else " off" if one.value is False else f" {one.value}")
        for one in unusual
    ]


def _devices(method: TrainingMethod, world: World, words: Sentences) -> str:
    text = words.device(world.device_model)
    if world.devices > 1:
        unlike_gpus = world.has_unlike_devices and world.device_kind == "cuda"
        if unlike_gpus:
            gpus = words.counted(world.devices, "1 GPU", "{count} GPUs")
            text = words.translate("{what} ({model})", what=gpus, model=text)
        else:
            text = words.translate("{count} × {model}", count=world.devices, model=text)
    if method.launcher == "python":
        return text
    return words.translate(
        "{devices} in {processes} over {backend}",
        devices=text,
        processes=words.counted(world.processes, "{count} process", "{count} processes"),
        backend=world.backend,
    )


def _batch(config: RunConfig, words: Sentences) -> str:
    text = words.translate(
        "{total} global, {each} per device", total=config.global_batch_size, each=config.per_device_batch_size
    )
    parts = config.accumulation_steps
    size = config.micro_batch_size
    return (
        words.translate(
            "{batch}; {count} micro-batches of {size} one after another", batch=text, count=parts, size=size
        )
        if parts > 1
        else text
    )


def _samples(config: RunConfig, words: Sentences) -> str:
    epochs = words.counted(config.epochs, "{count} epoch", "{count} epochs")
    text = words.translate("{count} an epoch, {epochs}", count=config.samples_per_epoch, epochs=epochs)
    return (
        words.translate("{samples}, of {source}", samples=text, source=config.data_source)
        if config.data_dir or config.data
        else text
    )


def _past(world: World, resumed: Resumed | None, words: Sentences) -> list[str]:
    notes = [words.translate("restarted by torchrun, {times} so far", times=world.restarts)] if world.restarts else []
    if resumed:
        steps = words.counted(resumed.steps_done, "{count} step", "{count} steps")
        within = message("epoch {epoch}, after {steps}") if resumed.steps_done else message("epoch {epoch}")
        where = within.with_values(epoch=resumed.epoch, steps=steps)
        notes.append(words.translate("goes on from {file}: {where}", file=resumed.file, where=where))
        notes += [
            words.translate("a newer checkpoint was left out: {reason}", reason=reason) for reason in resumed.skipped
        ]
    return notes
