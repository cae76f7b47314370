"""Commands that a reader is asked to run, so that their records land in the group of those that are there."""

from __future__ import annotations

import shlex

from common.analysis.comparing.facts import USUAL
from common.records import Method, Record

SCRIPTS: dict[Method, str] = {
    "single": "02_baseline_single_gpu.py",
    "dp": "03_dataparallel_training.py",
    "ddp": "04_ddp_training.py",
}


def training_command(
    record: Record, method: Method, devices: int = 1, batch: int | None = None, epochs: int | None = None
) -> str:
    """02, 03 or 04 with the settings of a record; `batch`, that of one device, and `epochs` as there where left out."""
    config, host = record.config, record.environment
    batch = batch or config.per_device_batch_size
    sizes = {
        "--model": config.model,
        "--batch-size": batch * devices if method == "dp" else batch,
        "--epochs": epochs or config.epochs,
        "--samples-per-epoch": config.samples_per_epoch,
        "--image-size": config.image_size,
        "--precision": config.precision,
    }
    if config.num_classes != USUAL["num_classes"]:
        sizes["--num-classes"] = config.num_classes
    if config.accumulation_steps > 1:
        sizes["--accumulation-steps"] = config.accumulation_steps
    if config.compile_mode != "default":
        sizes["--compile-mode"] = config.compile_mode
    if config.data_dir:
        sizes["--data-dir"] = config.data_dir
    if record.world.device_kind == "cpu" and host.gpus:
        sizes["--device"] = "cpu"
    if method == "dp":  # replicas share a GPU where there is one only
        one_gpu = record.world.device_kind == "cuda" and len(host.gpus) == 1
        sizes["--gpus"] = ",".join(["0"] * devices if one_gpu else map(str, range(devices)))
    switches = {
        "--channels-last": config.memory_format == "channels_last",
        "--compile": config.compile and method != "dp",  # step 03 has no --compile
        "--fused-optimizer": config.fused_optimizer,
        "--cudnn-benchmark": config.cudnn_benchmark,
        "--prefetch": config.prefetch and method != "dp",  # and no --prefetch
        "--deterministic": config.deterministic,
    }
    words = [str(part) for pair in sizes.items() for part in pair] + [flag for flag, on in switches.items() if on]
    starter = f"torchrun --standalone --nproc_per_node={devices}" if method == "ddp" else "python"
    return f"{starter} {SCRIPTS[method]} {shlex.join(words)}"
