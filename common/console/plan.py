"""What a run is about to do, in a small table before it begins."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from common.records import METHODS, Resumed, RunConfig, World, unusual_settings
from common.sentences import Sentences


def flags(world: World, words: Sentences) -> list[str]:
    """What keeps this run from being scaling, in words."""
    names = [*world.flags, *(["unlike"] if world.has_unlike_devices else [])]
    return [words.translate(f"plan_note.{name}", devices=world.devices) for name in names]


def show_plan(
    console: Console,
    words: Sentences,
    method: str,
    config: RunConfig,
    world: World,
    resumed: Resumed | None,
    optimizer: str = "",
) -> None:
    """What the run is about to do; `optimizer` describes one that the model brings along."""
    rows = {
        "model": _model(config, optimizer, words),
        "devices": _devices(method, world, words),
        "batch": _batch(config, words),
        "samples": _samples(config, words),
        "warm_up": words.translate("plan.warm_up", steps=words.counted(config.warmup_steps, "counted.step")),
        "precision": config.precision,
    }
    if chosen := practice(config):
        rows["practice"] = words.translate("list.comma").join(chosen)
    alone = (
        [words.translate("plan_note.one_rank")]
        if METHODS[method].launcher == "torchrun" and world.processes == 1
        else []
    )
    notes = [*flags(world, words), *alone, *_past(world, resumed, words)]
    table = Table.grid(padding=(0, 2))
    for name, text in [*rows.items(), *(("note", note) for note in notes)]:
        table.add_row(
            f"  [dim]{words.translate(f'plan_row.{name}')}", f"{'[yellow]' if name == 'note' else ''}{escape(text)}"
        )
    console.print(f"\n[bold]{words.translate(f'method.{method}' if METHODS[method].is_parallel else 'plan.title')}")
    console.print(table)
    console.print()


def _model(config: RunConfig, optimizer: str, words: Sentences) -> str:
    if config.image_size:
        inputs = words.translate("plan.images", size=config.image_size, classes=config.num_classes)
    elif config.unit == "tokens":
        inputs = words.translate("plan.sequences", count=config.units_per_sample)
    else:
        inputs = config.sample or words.translate("plan.own_samples")
    if config.optimizer != "own":
        rates = {"rate": config.learning_rate, "momentum": config.momentum, "decay": config.weight_decay}
        optimizer = words.translate(f"plan.{config.optimizer}", **rates)
    return words.translate("plan.model", model=config.model, inputs=inputs, optimizer=optimizer)


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


def _devices(method: str, world: World, words: Sentences) -> str:
    text = words.device(world.device_model)
    if world.devices > 1:
        unlike_gpus = world.has_unlike_devices and world.device_kind == "cuda"
        id = "place.of_model" if unlike_gpus else "place.models"
        text = words.translate(id, what=words.counted(world.devices, "place.gpu"), count=world.devices, model=text)
    if METHODS[method].launcher == "python":
        return text
    return words.translate(
        "plan.in_processes",
        devices=text,
        processes=words.counted(world.processes, "counted.rank"),
        backend=world.backend,
    )


def _batch(config: RunConfig, words: Sentences) -> str:
    text = words.translate("plan.batch", total=config.global_batch_size, each=config.per_device_batch_size)
    parts = config.accumulation_steps
    size = config.micro_batch_size
    return words.translate("plan.micro_batches", batch=text, count=parts, size=size) if parts > 1 else text


def _samples(config: RunConfig, words: Sentences) -> str:
    epochs = words.counted(config.epochs, "counted.epoch")
    text = words.translate("plan.samples", count=config.samples_per_epoch, epochs=epochs)
    return (
        words.translate("plan.of_data", samples=text, source=config.data_source)
        if config.data_dir or config.data
        else text
    )


def _past(world: World, resumed: Resumed | None, words: Sentences) -> list[str]:
    notes = [words.translate("plan_note.restarted", times=world.restarts)] if world.restarts else []
    if resumed:
        steps = words.counted(resumed.steps_done, "counted.step")
        id = "plan_note.within_epoch" if resumed.steps_done else "plan_note.at_epoch"
        where = words.translate(id, epoch=resumed.epoch, steps=steps)
        notes.append(words.translate("plan_note.resumed", file=resumed.file, where=where))
        notes += [words.translate("plan_note.newer_left_out", reason=reason) for reason in resumed.skipped]
    return notes
