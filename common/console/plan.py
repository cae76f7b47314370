"""What a run is about to do, in a small table before it begins."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from common.records import DdpOptions, Resumed, RunConfig, World

METHOD_NAMES = {"single": "one device", "dp": "DataParallel", "ddp": "DistributedDataParallel"}


def flags(world: World) -> list[str]:
    """What keeps this run from being scaling, in words."""
    words = {
        "emulated": "emulated: CPU threads play the GPUs of DataParallel; its cost differs from a GPU's",
        "shared": "shared: several replicas or ranks on one GPU; they take turns, this is no scaling",
        "oversubscribed": f"oversubscribed: {world.devices} devices on fewer cores, in turns; this is no scaling",
    }
    return [text for flag, text in words.items() if getattr(world, flag)]


def show_plan(console: Console, method: str, config: RunConfig, world: World, resumed: Resumed | None) -> None:
    """What the run is about to do."""
    several = f"{world.devices} × " if world.devices > 1 else ""
    processes = f" in {world.processes} processes over {world.backend}" if method == "ddp" else ""
    learning = f"SGD, learning rate {config.learning_rate:.4g}, momentum {config.momentum:g}"
    rows = {
        "model": f"{config.model}, {config.image_size} px images, {config.num_classes} classes, {learning}",
        "devices": f"{several}{world.device_model}{processes}",
        "batch": f"{config.global_batch_size} global, {config.per_device_batch_size} per device" + _micro(config),
        "samples": f"{config.samples_per_epoch} an epoch, {config.epochs} epochs" + _tree(config),
        "warm-up": f"{config.warmup_steps} steps, not counted",
        "precision": config.precision,
    }
    if chosen := practice(config):
        rows["practice"] = ", ".join(chosen)
    notes = [*flags(world), *_past(world, resumed)]
    table = Table.grid(padding=(0, 2))
    for name, text in [*rows.items(), *(("note", f"[yellow]{escape(note)}") for note in notes)]:
        table.add_row(f"  [dim]{name}", text)
    console.print(
        f"\n[bold]Training on {METHOD_NAMES[method]}" if method == "single" else f"\n[bold]{METHOD_NAMES[method]}"
    )
    console.print(table)
    console.print()


def practice(config: RunConfig) -> list[str]:
    """What was switched on beyond the defaults, by the names of the flags."""
    switched = {"channels-last": config.memory_format == "channels_last", "compile": config.compile,
                f"compile-mode {config.compile_mode}": config.compile_mode != "default",
                "fused-optimizer": config.fused_optimizer, "cudnn-benchmark": config.cudnn_benchmark,
                "prefetch": config.prefetch, "deterministic": config.deterministic}  # fmt: skip
    chosen = [name for name, is_on in switched.items() if is_on]
    if config.ddp:
        usual = DdpOptions(timeout_seconds=config.ddp.timeout_seconds).model_dump()
        chosen += [
            name.replace("_", "-") + ("" if value is True else f" {'off' if value is False else value}")
            for name, value in config.ddp.model_dump().items()
            if value != usual[name]
        ]
    return chosen


def _micro(config: RunConfig) -> str:
    parts = config.accumulation_steps
    return f"; {parts} micro-batches of {config.micro_batch_size} one after another" if parts > 1 else ""


def _tree(config: RunConfig) -> str:
    return f", of {escape(config.data_source)}" if config.data_dir else ""


def _past(world: World, resumed: Resumed | None) -> list[str]:
    notes = [f"restarted by torchrun, {world.restarts} so far"] if world.restarts else []
    if resumed:
        where = f"epoch {resumed.epoch}" + (f", after {resumed.steps_done} steps" if resumed.steps_done else "")
        notes.append(f"goes on from {resumed.file}: {where}")
        notes += [f"a newer checkpoint was left out: {reason}" for reason in resumed.skipped]
    return notes
