"""What a run was asked to do."""

from __future__ import annotations

from math import ceil
from typing import Annotated, Literal

from pydantic import Field, model_validator

from common.records.values import Count, FiniteFloat, Part, PositiveCount, Precision, Whole

CompileMode = Literal["default", "reduce-overhead", "max-autotune"]
CommHook = Literal["none", "fp16", "bf16", "powersgd"]
Exchange = Literal["ddp", "per-parameter", "flat", "overlapped", "mine"]


NEWER_OPTIONS = {"batched_grad_copy": (2, 12), "lazy_bucket_allocation": (2, 15)}
"""Options of DDP that came after torch 2.11, with their version."""


def has_option(torch: str, since: tuple[int, int]) -> bool:
    """Whether torch of this version, `2.14.1+cu130`, has what came with `since`."""
    return tuple(map(int, torch.split(".")[:2])) >= since


class DdpOptions(Part):
    """Arguments of `DistributedDataParallel`, under torch's own names, and what goes with it."""

    exchange: Exchange = "ddp"
    """`ddp` is torch's class; the others are the lab's own, which have none of its arguments."""
    find_unused_parameters: bool = False
    gradient_as_bucket_view: bool = True
    bucket_cap_mb: Annotated[float, Field(gt=0)] | None = None
    """MiB of gradients in one all-reduce; None is torch's default (25, with a first bucket of 1)."""
    one_bucket: bool = False
    """All gradients in one all-reduce, when the last one is ready: nothing overlaps with the backward pass."""
    broadcast_buffers: bool = False
    static_graph: bool = False
    batched_grad_copy: bool = False
    lazy_bucket_allocation: bool = False
    sync_bn: bool = False
    """BatchNorm's statistics over the global batch (`SyncBatchNorm`) instead of over each rank's part."""
    comm_hook: CommHook = "none"
    """How gradients are compressed for the all-reduce."""
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
    accumulation_steps: PositiveCount = 1
    """Micro-batches that an optimizer step is split into, one after another."""
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
    compile_mode: CompileMode = "default"
    """What `torch.compile` tries; `reduce-overhead` records the kernels of a step as CUDA graphs."""
    fused_optimizer: bool = False
    """All weights updated by one kernel instead of a few for each group of them."""
    cudnn_benchmark: bool = False
    """cuDNN times its algorithms on each convolution it meets, and takes the fastest."""
    prefetch: bool = False
    """Batches copied to the GPU on a stream of their own, while the step before them runs."""
    deterministic: bool = False
    data_source: str = "synthetic"
    """`synthetic`, or which image tree and how large."""
    data_dir: str | None = None
    """Where the image tree lies."""
    learning_rate: FiniteFloat
    momentum: FiniteFloat
    weight_decay: FiniteFloat
    seed: Whole
    loader_workers: Count
    """Loader worker processes, over all devices."""
    ddp: DdpOptions | None = None
    """Set for method `ddp` alone."""

    @model_validator(mode="after")
    def _batch_fits(self) -> RunConfig:
        if self.global_batch_size % self.accumulation_steps:
            raise ValueError(f"{self.accumulation_steps} accumulation steps do not divide {self.global_batch_size}")
        return self

    @property
    def micro_batch_size(self) -> int:
        """Samples that are forwarded and backwarded at once, over all devices."""
        return self.global_batch_size // self.accumulation_steps

    @property
    def per_device_micro_batch_size(self) -> int:
        """Samples that a device holds at once."""
        return ceil(self.per_device_batch_size / self.accumulation_steps)

    @property
    def smallest_micro_batch_size(self) -> int:
        """The same of the device that gets least: DataParallel leaves the last one what the others do not take."""
        return (self.micro_batch_size - 1) % self.per_device_micro_batch_size + 1
