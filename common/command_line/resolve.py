"""What a run is asked to do: the command line, filled in for these devices and this data. Imports no torch."""

from importlib.metadata import version
from math import ceil, isqrt
from typing import Any, NamedTuple

from common.command_line.model_names import model_name, source_of
from common.command_line.options import TrainingOptions
from common.errors import UsageError
from common.records import (
    METHODS,
    DdpOptions,
    DeviceKind,
    Method,
    Precision,
    RunConfig,
    World,
    has_option,
    settings_of,
    unusual_settings,
)

AMP: dict[DeviceKind, Precision] = {"cuda": "fp16", "cpu": "bf16"}
_DECLARED = {**settings_of(RunConfig), **settings_of(TrainingOptions)}
DEFAULTS: dict[DeviceKind, dict[str, Any]] = {
    "cuda": {name: one.on_gpus for name, one in _DECLARED.items() if one.on_gpus is not None},
    "cpu": {name: one.on_cores for name, one in _DECLARED.items() if one.on_cores is not None},
}
"""What a run uses where the command line is silent, so that each step ends within minutes."""


class OwnData(NamedTuple):
    """What there is to train on, where it is not made on the fly."""

    source: str
    samples: int
    classes: int
    """0 where it is no folder of classes."""


def resolve(
    options: TrainingOptions,
    world: World,
    precision: Precision,
    loader_workers: int,
    data: OwnData | None = None,
    accumulation_steps: int | None = None,
) -> RunConfig:
    """Fill in what the command line left open, for these devices and this data.

    `precision` and `loader_workers` (per device) are the defaults of this machine; `accumulation_steps` overrules the
    command line's. Raises `UsageError` where the batch cannot be laid over the devices, the samples do not fill one, or
    options contradict each other.
    """
    model, global_batch = options.settings["model"], options.batch_size * world.processes
    library, own = model_name(model).library, DEFAULTS[world.device_kind]
    of_imagenet = 1000 if library in ("torchvision", "timm") else 0  # 0: others decide by themselves
    known = {
        "num_classes": (data.classes if data else 0) or of_imagenet,
        "precision": AMP[world.device_kind] if options.amp else precision,
        "learning_rate": (0.001 if options.settings.get("optimizer") == "adamw" else 0.1) * global_batch / 256,
        "loader_workers": loader_workers,
        **own,
        "image_size": 0 if library == "hf" else own["image_size"],
        "sequence_length": own["sequence_length"] if library == "hf" else 0,
        "optimizer": "own" if library == "file" else "sgd",
        **({"samples_per_epoch": data.samples} if data else {}),
        **{name: value for name, value in options.settings.items() if value is not None},
        **({"accumulation_steps": accumulation_steps} if accumulation_steps else {}),
    }
    _check_sizes(options.batch_size, world, known, data)
    config = RunConfig(
        **{name: value for name, value in known.items() if name in RunConfig.model_fields}
        | {
            "global_batch_size": global_batch,
            "per_device_batch_size": ceil(global_batch / world.devices),
            "loader_workers": known["loader_workers"] * world.devices,
            "data_source": data.source if data else "synthetic",
            "model_source": source_of(model),
            "ddp": options.ddp,
        }
    )
    _check_declared(config, options.method, world)
    _check_together(options, config, world)
    check_settings_of_model(options.settings)
    return config


def next_accumulation(batch_size: int, accumulation_steps: int, devices: int) -> int | None:
    """The next larger number of accumulation steps that divides the batch of one process on `devices` of its own.

    None where every device has one sample at a time already.
    """
    larger = (steps for steps in _divisors(batch_size) if accumulation_steps < steps <= batch_size // devices)
    return next((steps for steps in larger if _reaches(batch_size // steps, devices)), None)


def _divisors(number: int) -> list[int]:
    small = [n for n in range(1, isqrt(number) + 1) if number % n == 0]
    return sorted({*small, *(number // n for n in small)})


def _reaches(batch: int, devices: int) -> bool:
    """Whether DataParallel, which cuts a batch into parts of equal size, has one for every device."""
    return ceil(batch / ceil(batch / devices)) == devices


def _check_sizes(batch: int, world: World, known: dict[str, Any], data: OwnData | None) -> None:
    """`batch`: of one process."""
    steps, samples, global_batch = known["accumulation_steps"], known["samples_per_epoch"], batch * world.processes
    devices = world.devices // world.processes
    if batch % steps:
        nearest = sorted(sorted(_divisors(batch)[1:], key=lambda n: abs(n - steps))[:3])
        raise UsageError(
            f"--accumulation-steps {steps} does not divide --batch-size {batch}: "
            f"try {' or '.join(map(str, nearest)) or 1}"
        )
    if not _reaches(batch // steps, devices):
        once, multiple = f", {steps} times" if steps > 1 else "", devices * steps
        raise UsageError(
            f"a global batch of {batch} does not reach {devices} devices{once}: "
            f"give a multiple, --batch-size {ceil(batch / multiple) * multiple} for one"
        )
    if data and samples > data.samples:
        raise UsageError(f"--samples-per-epoch {samples}: the data have {data.samples} samples; leave it out for all")
    if samples < global_batch:
        more = "lower --batch-size" if data else "raise --samples-per-epoch or lower --batch-size"
        raise UsageError(f"{samples} samples an epoch do not fill one global batch of {global_batch}: {more}")
    if data and known["num_classes"] < data.classes:  # a model in a file has as many as it was built with
        raise UsageError(f"--num-classes {known['num_classes']}: --data-dir has {data.classes} classes; leave it out")


def check_settings_of_model(settings: dict[str, Any]) -> None:
    """Raises `UsageError` for a setting on the command line that this kind of model does not have."""
    given = {name for name, value in settings.items() if value is not None}
    library = model_name(settings["model"]).library
    for name, declared in settings_of(RunConfig).items():
        if name in given and declared.models and library not in declared.models:
            raise UsageError(f"--{declared.flag} does not go with --model {settings['model']}: leave it out")
    if {"data", "data_dir"} <= given:
        raise UsageError("--data and --data-dir are two data sets: leave one of them out")


def _check_declared(config: RunConfig, method: Method, world: World) -> None:
    """What declarations say of methods, devices and versions of torch that refuse a setting."""
    here = version("torch")
    for one, _ in unusual_settings(config) + (unusual_settings(config.ddp) if config.ddp else []):
        flag, reason = one.flag, one.not_with_replicas
        if reason and METHODS[method].has_replicas:
            raise UsageError(f"--{flag} does not go with DataParallel, which {reason}: leave it out, or use step 04")
        if one.needs_gpus and world.device_kind == "cpu":
            raise UsageError(f"--{flag} needs GPUs: {one.needs_gpus}; leave it out")
        if one.since and not has_option(here, one.since):
            needed = ".".join(map(str, one.since))
            raise UsageError(f"--{flag} needs torch {needed} or newer, and this is {here}: leave it out")


def _check_together(options: TrainingOptions, config: RunConfig, world: World) -> None:
    """Settings that contradict each other."""
    if config.compile_mode != "default" and not config.compile:
        raise UsageError(f"--compile-mode {config.compile_mode} needs --compile: add it")
    if config.fused_optimizer and config.precision == "fp16" and config.optimizer == "sgd":
        # The kernel skips a first step with infinite gradients and leaves in the momentum what the memory held before.
        raise UsageError(
            "--fused-optimizer does not go with fp16: where the loss scaler skips the first step, torch's fused SGD "
            "goes on from uninitialised momentum, and the loss becomes NaN; leave it out, or take --precision bf16"
        )
    if config.cudnn_benchmark and config.deterministic:
        raise UsageError("--cudnn-benchmark may take another algorithm in every run: leave out it or --deterministic")
    if options.checkpoint_every and not options.checkpoint_dir:
        raise UsageError("--checkpoint-every needs --checkpoint-dir DIR, where checkpoints go")
    if options.resume == "auto" and not options.checkpoint_dir:
        raise UsageError("--resume auto needs --checkpoint-dir DIR, where it looks for the newest checkpoint")
    ddp, over_gloo = config.ddp or DdpOptions(), world.backend == "gloo"
    if ddp.exchange != "ddp":  # built by hand: torch's options would change nothing
        of_torch = [one.flag for one, _ in unusual_settings(ddp) if one.flag not in ("exchange", "sync-bn")]
        changed = [f"--{flag}" for flag in (*of_torch, *(["compile"] if config.compile else []))]
        if changed:
            raise UsageError(
                f"--exchange {ddp.exchange} is built by hand and knows nothing of {', '.join(changed)}: "
                "leave one of them out"
            )
    if ddp.static_graph and config.accumulation_steps > 1:
        raise UsageError(
            "--static-graph does not go with --accumulation-steps: under no_sync() it fails or stops exchanging "
            "gradients (pytorch#143580); leave one of them out"
        )
    if ddp.comm_hook == "bf16" and over_gloo:
        raise UsageError("--comm-hook bf16 needs NCCL, one GPU per rank: torch refuses it over gloo; try fp16")
    if ddp.comm_hook == "powersgd" and over_gloo and not ddp.one_bucket:
        raise UsageError(
            "--comm-hook powersgd over gloo needs --one-bucket: torch's hook waits for one exchange within another, "
            "and with several buckets no thread of gloo's is left to carry it out"
        )
