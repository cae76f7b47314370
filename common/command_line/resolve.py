"""What a run is asked to do: the command line, filled in for these devices and this data. Imports no torch."""

from __future__ import annotations

from importlib.metadata import version
from math import ceil, isqrt
from typing import Any, NamedTuple

from common.command_line.options import TrainingOptions
from common.errors import UsageError
from common.records import METHODS, NEWER_OPTIONS, DdpOptions, DeviceKind, Precision, RunConfig, World, has_option

# Per device kind: what a run uses where the command line is silent, so that each step ends within minutes.
DEFAULTS: dict[DeviceKind, dict[str, Any]] = {
    "cuda": {"image_size": 224, "samples_per_epoch": 51_200, "warmup_steps": 10, "anatomy_steps": 20, "amp": "fp16"},
    "cpu": {"image_size": 64, "samples_per_epoch": 512, "warmup_steps": 2, "anatomy_steps": 6, "amp": "bf16"},
}


class DataFound(NamedTuple):
    """What there is to train on, where it is not synthetic."""

    source: str
    samples: int
    classes: int


def resolve(
    options: TrainingOptions,
    world: World,
    precision: Precision,
    loader_workers: int,
    found: DataFound | None = None,
    accumulation_steps: int | None = None,
) -> RunConfig:
    """Fill in what the command line left open, for these devices and this data.

    `precision` and `loader_workers` (per device) are the defaults of this machine; `accumulation_steps` overrules the
    command line's. Raises `UsageError` where the batch cannot be laid over the devices, the samples do not fill one, or
    options contradict each other.
    """
    defaults = DEFAULTS[world.device_kind] | ({"samples_per_epoch": found.samples} if found else {})

    def given(name: str) -> int:
        return defaults[name] if getattr(options, name) is None else getattr(options, name)

    accumulation_steps = accumulation_steps or options.accumulation_steps
    global_batch = options.batch_size * world.processes
    _check_batch(options.batch_size, world, accumulation_steps)
    _check_samples(given("samples_per_epoch"), global_batch, found)
    precision = defaults["amp"] if options.amp else options.precision or precision
    _check_options(options, world, accumulation_steps, precision)
    return RunConfig(
        model=options.model,
        num_classes=_classes(options.num_classes, found),
        image_size=given("image_size"),
        global_batch_size=global_batch,
        per_device_batch_size=ceil(global_batch / world.devices),
        accumulation_steps=accumulation_steps,
        epochs=options.epochs,
        samples_per_epoch=given("samples_per_epoch"),
        warmup_steps=given("warmup_steps"),
        precision=precision,
        memory_format="channels_last" if options.channels_last else "channels_first",
        compile=options.compile,
        compile_mode=options.compile_mode,
        fused_optimizer=options.fused_optimizer,
        cudnn_benchmark=options.cudnn_benchmark,
        prefetch=options.prefetch,
        deterministic=options.deterministic,
        data_source=found.source if found else "synthetic",
        data_dir=str(options.data_dir) if found else None,
        learning_rate=0.1 * global_batch / 256 if options.lr is None else options.lr,
        momentum=options.momentum,
        weight_decay=options.weight_decay,
        seed=options.seed,
        loader_workers=(loader_workers if options.workers is None else options.workers) * world.devices,
        ddp=options.ddp,
    )


def next_accumulation(batch_size: int, accumulation_steps: int, devices: int) -> int | None:
    """The next larger number of accumulation steps that divides the batch of one process on `devices` of its own.

    None where every device has one sample at a time already.
    """
    larger = (steps for steps in _divisors(batch_size) if accumulation_steps < steps <= batch_size // devices)
    return next((steps for steps in larger if _reaches(batch_size // steps, devices)), None)


def _divisors(number: int) -> list[int]:
    small = [n for n in range(1, isqrt(number) + 1) if number % n == 0]
    return sorted({*small, *(number // n for n in small)})


def _check_batch(batch_size: int, world: World, accumulation_steps: int) -> None:
    devices = world.devices // world.processes
    if batch_size % accumulation_steps:
        fitting = _divisors(batch_size)[1:]
        nearest = sorted(sorted(fitting, key=lambda n: abs(n - accumulation_steps))[:3])
        raise UsageError(
            f"--accumulation-steps {accumulation_steps} does not divide --batch-size {batch_size}: "
            f"try {' or '.join(map(str, nearest)) or 1}"
        )
    if not _reaches(batch_size // accumulation_steps, devices):
        once = f", {accumulation_steps} times" if accumulation_steps > 1 else ""
        multiple = devices * accumulation_steps
        raise UsageError(
            f"a global batch of {batch_size} does not reach {devices} devices{once}: "
            f"give a multiple, --batch-size {ceil(batch_size / multiple) * multiple} for one"
        )


def _reaches(batch: int, devices: int) -> bool:
    """Whether DataParallel, which cuts a batch into parts of equal size, has one for every device."""
    return ceil(batch / ceil(batch / devices)) == devices


def _check_samples(samples: int, global_batch: int, found: DataFound | None) -> None:
    if found and samples > found.samples:
        raise UsageError(f"--samples-per-epoch {samples}: --data-dir has {found.samples} images; leave it out for all")
    if samples < global_batch:
        more = "lower --batch-size" if found else "raise --samples-per-epoch or lower --batch-size"
        raise UsageError(f"{samples} samples an epoch do not fill one global batch of {global_batch}: {more}")


def _classes(asked: int | None, found: DataFound | None) -> int:
    if found and asked and asked < found.classes:
        raise UsageError(f"--num-classes {asked}: --data-dir has {found.classes} classes; leave it out")
    return asked or (found.classes if found else 1000)


def _check_options(options: TrainingOptions, world: World, accumulation_steps: int, precision: Precision) -> None:
    if options.compile and METHODS[options.method].has_replicas:
        raise UsageError(
            "--compile does not work under DataParallel, which makes new replicas every step (pytorch#94636): "
            "leave it out, or use step 04"
        )
    if options.compile_mode != "default" and not options.compile:
        raise UsageError(f"--compile-mode {options.compile_mode} needs --compile: add it")
    if options.fused_optimizer and precision == "fp16":
        # The kernel skips a first step with infinite gradients and leaves in the momentum what the memory held before.
        raise UsageError(
            "--fused-optimizer does not go with fp16: where the loss scaler skips the first step, torch's fused SGD "
            "goes on from uninitialised momentum, and the loss becomes NaN; leave it out, or take --precision bf16"
        )
    if options.cudnn_benchmark and world.device_kind == "cpu":
        raise UsageError("--cudnn-benchmark needs GPUs: CPU cores train without cuDNN; leave it out")
    if options.cudnn_benchmark and options.deterministic:
        raise UsageError("--cudnn-benchmark may take another algorithm in every run: leave out it or --deterministic")
    if options.prefetch and world.device_kind == "cpu":
        raise UsageError("--prefetch needs GPUs: to CPU cores nothing is copied; leave it out")
    if options.prefetch and METHODS[options.method].has_replicas:
        raise UsageError(
            "--prefetch does not go with DataParallel, which cuts a batch up itself and sends each device its part: "
            "leave it out, or use step 04"
        )
    if options.checkpoint_every and not options.checkpoint_dir:
        raise UsageError("--checkpoint-every needs --checkpoint-dir DIR, where checkpoints go")
    if options.resume == "auto" and not options.checkpoint_dir:
        raise UsageError("--resume auto needs --checkpoint-dir DIR, where it looks for the newest checkpoint")
    ddp = options.ddp
    if ddp is None:
        return
    _check_exchange(ddp, options.compile)
    if ddp.static_graph and accumulation_steps > 1:
        raise UsageError(
            "--static-graph does not go with --accumulation-steps: under no_sync() it fails or stops exchanging "
            "gradients (pytorch#143580); leave one of them out"
        )
    if ddp.comm_hook == "bf16" and world.backend == "gloo":
        raise UsageError("--comm-hook bf16 needs NCCL, one GPU per rank: torch refuses it over gloo; try fp16")
    if ddp.comm_hook == "powersgd" and world.backend == "gloo" and not ddp.one_bucket:
        raise UsageError(
            "--comm-hook powersgd over gloo needs --one-bucket: torch's hook waits for one exchange within another, "
            "and with several buckets no thread of gloo's is left to carry it out"
        )
    here = version("torch")
    for name, since in NEWER_OPTIONS.items():
        if getattr(ddp, name) and not has_option(here, since):
            flag, needed = name.replace("_", "-"), ".".join(map(str, since))
            raise UsageError(f"--{flag} needs torch {needed} or newer, and this is {here}: leave it out")
    if ddp.sync_bn and world.device_kind == "cpu":
        raise UsageError("--sync-bn needs GPUs: torch's SyncBatchNorm has no CPU implementation; leave it out")


def _check_exchange(ddp: DdpOptions, compiled: bool) -> None:
    """The exchanges that are built by hand have nothing that torch's options could change."""
    if ddp.exchange == "ddp":
        return
    usual = DdpOptions(exchange=ddp.exchange, timeout_seconds=ddp.timeout_seconds, sync_bn=ddp.sync_bn)
    changed = [f"--{name.replace('_', '-')}" for name, value in ddp if value != getattr(usual, name)]
    if compiled:
        changed.append("--compile")
    if changed:
        raise UsageError(
            f"--exchange {ddp.exchange} is built by hand and knows nothing of {', '.join(changed)}: "
            "leave one of them out"
        )
