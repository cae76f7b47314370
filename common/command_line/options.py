"""What the command line of 02, 03 or 04 asked for, as plain typed data. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from common.records import CompileMode, DdpOptions, Method, Precision


@dataclass(frozen=True)
class TrainingOptions:
    """One field a flag, under the flag's name; None where the flag was left out and devices or data decide."""

    method: Method
    model: str
    batch_size: int
    """Samples in one optimizer step of one process: the global batch in 02 and 03, that of one rank in 04."""
    epochs: int
    data_dir: Path | None
    samples_per_epoch: int | None
    image_size: int | None
    """Height and width in pixels."""
    num_classes: int | None
    lr: float | None
    momentum: float
    weight_decay: float
    seed: int

    precision: Precision | None
    amp: bool
    channels_last: bool
    compile: bool
    compile_mode: CompileMode
    fused_optimizer: bool
    cudnn_benchmark: bool
    prefetch: bool
    accumulation_steps: int
    auto_accumulate: bool
    deterministic: bool
    checkpoint_dir: Path | None
    checkpoint_every: int | None
    """Optimizer steps."""
    resume: str | None
    """A checkpoint, or `auto` for the newest in `checkpoint_dir`."""
    tensorboard: Path | None

    workers: int | None
    """Loader processes per device."""
    warmup_steps: int | None
    device: str
    anatomy_steps: int | None
    trace: bool
    results_dir: Path
    lang: str | None
    """Of what is printed; records know nothing of it."""
    quiet: bool

    gpus: str | None = None
    """Device numbers, `0,1,2,3`; step 03 alone has this flag."""
    ddp: DdpOptions | None = None
    """Set by step 04 alone."""
