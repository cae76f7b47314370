"""What a reader would compare about two runs: what makes a group, what makes a configuration, and what else may differ.

Facts are named by ids, which are also the columns of the runs' table; `templates/sentences.en.toml` has their names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeVar

from common.records import DdpOptions, Record, machine_of

Scaling = Literal["weak", "strong"]
Fact = str | int | float
Facts = Mapping[str, Fact]
T = TypeVar("T")

KEY = ("model", "num_classes", "image_size_px", "precision", "memory_format", "compile", "compile_mode",
       "fused_optimizer", "cudnn_benchmark", "prefetch", "accumulation_steps", "deterministic", "data_source",
       "device_model")  # fmt: skip
"""Runs are compared where these agree, and the batch of their scaling."""
BATCH: dict[Scaling, str] = {"weak": "per_device_batch_size", "strong": "global_batch_size"}
"""Weak scaling fixes the per-device batch, strong scaling the global batch."""
OPTIONS = "ddp_options"
"""DDP's options that are not the default ones, as the flags that set them."""
OTHER_FACTS = ("torch", "torchvision", "cuda", "cudnn", "nccl", "driver", "python", "machine", "cpu_model", "cpu_cores",
               "nodes", "threads_per_device", "backend", "transport", "loader_workers_per_device", "samples_per_epoch",
               "epochs", "warmup_steps", "learning_rate_per_256_samples", "momentum", "weight_decay",
               "variables", "interpreter_lock", "backend_class", "cpu_quota", "campaign", OPTIONS)  # fmt: skip
"""All facts of `other_facts`, whether a run has them or not."""
USUAL = {"num_classes": 1000, "memory_format": "channels_first", "compile": False, "compile_mode": "default",
         "fused_optimizer": False, "cudnn_benchmark": False, "prefetch": False, "accumulation_steps": 1,
         "deterministic": False, "data_source": "synthetic", "transport": "", "variables": ""}  # fmt: skip
"""Values that a title leaves out, and that a change is counted from."""
MAX_CANDIDATES = 100


def group_facts(record: Record) -> Facts:
    """What decides whether runs may be compared."""
    config = record.config
    return {
        "model": config.model,
        "num_classes": config.num_classes,
        "image_size_px": config.image_size,
        "precision": config.precision,
        "memory_format": config.memory_format,
        "compile": config.compile,
        "compile_mode": config.compile_mode,
        "fused_optimizer": config.fused_optimizer,
        "cudnn_benchmark": config.cudnn_benchmark,
        "prefetch": config.prefetch,
        "accumulation_steps": config.accumulation_steps,
        "deterministic": config.deterministic,
        "data_source": config.data_source,
        "device_model": record.world.device_model,
        "per_device_batch_size": config.per_device_batch_size,
        "global_batch_size": config.global_batch_size,
    }


def other_facts(record: Record) -> Facts:
    """Everything else that may move a run's speed or memory and that is not the method itself. The seed is left out."""
    config, world, host = record.config, record.world, record.environment
    known: dict[str, Fact | None] = {
        "torch": host.torch,
        "torchvision": host.torchvision,
        "cuda": host.cuda,
        "cudnn": host.cudnn,
        "nccl": host.nccl,
        "driver": host.driver,
        "python": host.python,
        "machine": machine_of(host),
        "cpu_model": host.cpu_model,
        "cpu_cores": host.cpu_cores,
        "nodes": world.nodes,
        "threads_per_device": world.threads_per_device,
        "backend": world.backend,
        "transport": world.transport if world.devices > 1 else None,
        "loader_workers_per_device": _whole(config.loader_workers / world.devices),
        "samples_per_epoch": config.samples_per_epoch,
        "epochs": config.epochs,
        "warmup_steps": config.warmup_steps,
        # By default the rate grows with the global batch (linear scaling rule); only a departure from it differs.
        "learning_rate_per_256_samples": float(f"{config.learning_rate * 256 / config.global_batch_size:.4g}"),
        "momentum": config.momentum,
        "weight_decay": config.weight_decay,
        "campaign": campaign_of(record),
        OPTIONS: ddp_flags(config.ddp) if config.ddp else None,
    }
    known |= {
        "variables": host.variables,
        "interpreter_lock": host.interpreter_lock,
        "backend_class": record.backend_class,
        "cpu_quota": host.cpu_quota,
    }
    return {name: value for name, value in known.items() if value is not None}


def campaign_of(record: Record) -> str:
    """What a run was started for: `lab`, `sweep`, …, `by_hand`; `unknown` in older records.

    It moves no speed. But what is run once more for another purpose must not move what was measured before.
    """
    if record.launch:
        return record.launch.campaign
    return "by_hand" if record.loader_runs_on else "unknown"


def _whole(value: float) -> int | float:
    return int(value) if value == int(value) else value


TERMS = ("method", "devices", "processes", "global_batch_size", "per_device_batch_size", "emulated", "shared",
         "oversubscribed", *OTHER_FACTS[:-1])  # fmt: skip
"""Everything of a configuration but DDP's options: rows of equal terms show what the options do."""
CONFIGURATION = (*TERMS, "failed_check", OPTIONS)
"""Runs that agree in all of these are repeats of each other and are pooled. A run whose speed cannot be never joins."""


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


def closest(own: Facts, candidates: Sequence[T], facts_of: Callable[[T], Facts]) -> T | None:
    """The candidate that differs from `own` in the fewest facts; of equals, the last (the newest).

    Only the last hundred are looked at, so that thousands of configurations do not take the square of their number.
    """
    best, fewest = None, None
    for candidate in candidates[-MAX_CANDIDATES:]:
        other = facts_of(candidate)
        count = sum(other.get(name, value) != value for name, value in own.items())
        if fewest is None or count <= fewest:
            best, fewest = candidate, count
    return best
