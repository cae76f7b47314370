"""What a reader would compare about two runs: the group, the configuration, and what differs, in words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, TypeVar

from common.records import DdpOptions, Record

Scaling = Literal["weak", "strong"]
Facts = dict[str, str]
T = TypeVar("T")

OPTIONS = "DDP's options"
"""What the facts on DDP's single options are called where they are told as one."""


def group_key(record: Record, scaling: Scaling) -> Facts:
    """Runs of equal key may be compared. Weak scaling fixes the per-device batch, strong scaling the global batch."""
    config = record.config
    if scaling == "weak":
        batch = {"per-device batch": str(config.per_device_batch_size)}
    else:
        batch = {"global batch": str(config.global_batch_size)}
    return {
        "model": config.model,
        "classes": str(config.num_classes),
        "image size": f"{config.image_size} px",
        "precision": config.precision,
        "memory format": config.memory_format,
        "compiled": "yes" if config.compile else "no",
        "micro-batches a step": str(config.accumulation_steps),
        "deterministic": "yes" if config.deterministic else "no",
        "data": config.data_source,
        "device": record.world.device_model,
        **batch,
    }


def facts(record: Record) -> Facts:
    """Everything else that may move a run's speed or memory and that is not the method itself. The seed is left out."""
    config, world, host = record.config, record.world, record.environment
    known = {
        "torch": host.torch,
        "torchvision": host.torchvision,
        "CUDA": host.cuda,
        "cuDNN": host.cudnn,
        "NCCL": host.nccl,
        "driver": host.driver,
        "Python": host.python,
        "host": host.hostname,
        "CPU": f"{host.cpu_model}, {host.cpu_cores} cores",
        "nodes": world.nodes,
        "threads per device": world.threads_per_device,
        "backend": world.backend,
        "loader workers per device": f"{config.loader_workers / world.devices:g}",
        "samples per epoch": config.samples_per_epoch,
        "epochs": config.epochs,
        "warm-up steps": config.warmup_steps,
        # By default the rate grows with the global batch (linear scaling rule); only a departure from it differs.
        "learning rate per 256 samples": f"{config.learning_rate * 256 / config.global_batch_size:.4g}",
        "momentum": config.momentum,
        "weight decay": config.weight_decay,
    }
    if config.ddp:
        known |= {
            f"DDP's {name}": value for name, value in config.ddp.model_dump().items() if name != "timeout_seconds"
        }
    return {name: str(value) for name, value in known.items() if value is not None}


def configuration(record: Record) -> tuple:
    """Runs with equal configurations are repeats of each other and are pooled. A run that failed parity never joins."""
    failed_parity = record.parity is not None and record.parity.outcome == "failed"
    return (*terms(record), failed_parity, ddp_flags(record.config.ddp))


def terms(record: Record) -> tuple:
    """Everything of a configuration but DDP's options: rows of equal terms show what the options do."""
    world, config = record.world, record.config
    flags = (world.emulated, world.shared, world.oversubscribed)
    batches = (config.global_batch_size, config.per_device_batch_size)
    return (record.method, world.devices, world.processes, *batches, *flags, *without_options(facts(record)).items())


def without_options(known: Facts) -> Facts:
    """The facts, less those on DDP's options."""
    return {name: value for name, value in known.items() if not name.startswith("DDP's ")}


def ddp_flags(options: DdpOptions | None) -> str:
    """The flags that set what is not DDP's default, `--comm-hook powersgd --one-bucket`; nothing where all of it is.

    How long a collective may take (`--timeout`) changes nothing that is measured, and is left out.
    """
    usual, flags = DdpOptions(), []
    for name, value in (options or usual).model_dump(exclude={"timeout_seconds"}).items():
        flag = name.replace("_", "-")
        if value == getattr(usual, name):
            continue
        if isinstance(value, bool):
            flags.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            flags.append(f"--{flag} {value:g}" if isinstance(value, float) else f"--{flag} {value}")
    return " ".join(flags)


def differences(labelled: Iterable[tuple[str, Mapping[str, str]]]) -> list[str]:
    """Name every fact on which the labelled things disagree: `torch 2.11 (DP × 2) and 2.13 (DDP × 2)`.

    A fact that one of them lacks (NCCL, for a run without it) is no difference.
    """
    values: dict[str, dict[str, list[str]]] = {}
    for label, known in labelled:
        for name, value in known.items():
            values.setdefault(name, {}).setdefault(value, []).append(label)
    return [_name(name, by_value) for name, by_value in values.items() if len(by_value) > 1]


def _name(name: str, by_value: dict[str, list[str]], most: int = 5) -> str:
    told = " and ".join(f"{value} ({shorten(labels)})" for value, labels in list(by_value.items())[:most])
    return f"{name} {told}" + (f" and {len(by_value) - most} more values" if len(by_value) > most else "")


def shorten(labels: Iterable[str], most: int = 4) -> str:
    """`a, b, c, d and 3 more`."""
    unique = list(dict.fromkeys(labels))
    return ", ".join(unique[:most]) + (f" and {len(unique) - most} more" if len(unique) > most else "")


def closest(own: Facts, candidates: Sequence[T], facts_of: Callable[[T], Facts], most: int = 100) -> T | None:
    """The candidate that differs from `own` in the fewest facts; of equals, the last (the newest).

    Only the last `most` are looked at, so that thousands of configurations do not take the square of their number.
    """
    best, fewest = None, None
    for candidate in candidates[-most:]:
        other = facts_of(candidate)
        count = sum(other.get(name, value) != value for name, value in own.items())
        if fewest is None or count <= fewest:
            best, fewest = candidate, count
    return best
