"""What a run was asked to do."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from common.metrics.base import Count, FiniteFloat, Part, PositiveCount, Precision


class DdpOptions(Part):
    """Arguments of `DistributedDataParallel`, under torch's own names."""

    find_unused_parameters: bool = False
    gradient_as_bucket_view: bool = True
    bucket_cap_mb: Annotated[float, Field(gt=0)] | None = None
    """MiB of gradients in one all-reduce; None is torch's default (25, with a first bucket of 1)."""
    broadcast_buffers: bool = False
    timeout_seconds: Annotated[float, Field(gt=0)] = 600.0
    """How long a collective may take before the run is given up."""


class RunConfig(Part):
    """All of what a run was asked to do, defaults filled in."""

    model: str
    num_classes: PositiveCount
    image_size: PositiveCount
    """Height and width of the square images, in pixels."""
    global_batch_size: PositiveCount
    """Samples in one optimizer step, over all devices."""
    per_device_batch_size: PositiveCount
    """Samples in one optimizer step, on the device that gets the most of them."""
    epochs: PositiveCount
    """Measured epochs asked for."""
    samples_per_epoch: PositiveCount
    """Size of the data set; an epoch leaves out the last samples that do not fill a global batch."""
    warmup_steps: Count
    """Optimizer steps before epoch 1, never counted."""
    precision: Precision
    """What the convolutions ran in."""
    memory_format: Literal["channels_first", "channels_last"] = "channels_first"
    compile: bool = False
    data_source: str = "synthetic"
    learning_rate: FiniteFloat
    momentum: FiniteFloat
    weight_decay: FiniteFloat
    seed: int
    loader_workers: Count
    """Loader worker processes, over all devices."""
    ddp: DdpOptions | None = None
    """Set for method `ddp` alone."""
