"""What DP and DDP cost on a single device, where they have nothing to gain, and the commands that measure it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from common.analysis.comparing.groups import Group
from common.analysis.comparing.rows import Row
from common.analysis.findings import Finding, finding


@dataclass(frozen=True)
class WrapperPrice:
    """The price, and what produces what is missing of it."""

    lines: list[Finding]
    commands: list[str]
    """Empty where nothing is missing."""


def wrapper_price(group: Group) -> WrapperPrice:
    """Every wrapped row on one device against plain training of the same group."""
    rows = [row for row in group.main_rows if row.devices == 1 and row.method != "single" and row.speed_up]
    lines = [_price(row) for row in rows]
    return WrapperPrice(lines, [] if {"dp", "ddp"} <= {row.method for row in rows} else list(_commands(group)))


def _price(row: Row) -> Finding:
    ratio = row.speed_up
    return finding("wrapper.price" if ratio.interval else "wrapper.price_without_interval", row=row.name, ratio=ratio)


def _commands(group: Group) -> Iterator[str]:
    """02, 03 and 04 on one device, so that their records land in this very group."""
    config = group.rows[0].record.config
    sizes = {
        "--model": config.model,
        "--batch-size": config.per_device_batch_size,
        "--epochs": config.epochs,
        "--samples-per-epoch": config.samples_per_epoch,
        "--image-size": config.image_size,
        "--num-classes": config.num_classes,
        "--precision": config.precision,
    }
    if config.accumulation_steps > 1:
        sizes["--accumulation-steps"] = config.accumulation_steps
    if config.compile_mode != "default":
        sizes["--compile-mode"] = config.compile_mode
    if config.data_dir:
        sizes["--data-dir"] = config.data_dir
    switches = {
        "--channels-last": config.memory_format == "channels_last",
        "--compile": config.compile,
        "--fused-optimizer": config.fused_optimizer,
        "--cudnn-benchmark": config.cudnn_benchmark,
        "--deterministic": config.deterministic,
    }
    words = [str(part) for pair in sizes.items() for part in pair] + [flag for flag, on in switches.items() if on]
    options = shlex.join(words)
    yield f"python 02_baseline_single_gpu.py {options}"
    if not config.compile:  # step 03 has no --compile
        yield f"python 03_dataparallel_training.py {options} --gpus 0"
    yield f"torchrun --standalone --nproc_per_node=1 04_ddp_training.py {options}"
