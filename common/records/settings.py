"""What a run was asked to do. Every setting is declared here, once.

From its declaration follow its flag with `--help`, its key in the record, whether runs that differ in it are compared
or pooled, what console and page call unusual, and the commands that the lab proposes.
"""

from __future__ import annotations

from math import ceil
from typing import Literal

from pydantic import model_validator

from common.records.setting_declaration import setting, settings_of
from common.records.values import Count, FiniteFloat, Part, PositiveCount, Precision, Whole

CompileMode = Literal["default", "reduce-overhead", "max-autotune"]
CommHook = Literal["none", "fp16", "bf16", "powersgd"]
Exchange = Literal["ddp", "per-parameter", "flat", "overlapped", "mine"]


def has_option(torch: str, since: tuple[int, int]) -> bool:
    """Whether torch of this version, `2.14.1+cu130`, has what came with `since`."""
    return tuple(map(int, torch.split(".")[:2])) >= since


class DdpOptions(Part):
    """Arguments of `DistributedDataParallel`, under torch's own names, and what goes with it."""

    exchange: Exchange = setting(
        "ddp",
        group="ddp",
        help="ddp: torch's class; others: built by hand, without torch's options (lessons/)",
    )
    """`ddp` is torch's class; the others are the lab's own, which have none of its arguments."""
    find_unused_parameters: bool = setting(
        False, group="ddp", either="graph", has_no=True, help="look for parameters without gradient each step"
    )
    gradient_as_bucket_view: bool = setting(
        True, group="ddp", has_no=True, help="gradients live in the all-reduce buckets"
    )
    bucket_cap_mb: float | None = setting(
        None, gt=0, group="ddp", either="buckets", metavar="MIB", help="size", otherwise="torch's: 25, the first one 1"
    )
    """MiB of gradients in one all-reduce; None is torch's default (25, with a first bucket of 1)."""
    one_bucket: bool = setting(False, group="ddp", either="buckets", help="exchange all gradients at once, at the end")
    """All gradients in one all-reduce, when the last one is ready: nothing overlaps with the backward pass."""
    static_graph: bool = setting(False, group="ddp", either="graph", help="every step uses the same parameters")
    batched_grad_copy: bool = setting(
        False, group="ddp", since=(2, 12), help="gradients go to their buckets in batches (torch 2.12)"
    )
    lazy_bucket_allocation: bool = setting(
        False, group="ddp", since=(2, 15), help="buckets get memory when first needed (torch 2.15)"
    )
    broadcast_buffers: bool = setting(
        False, group="ddp", has_no=True, help="copy rank 0's buffers to all ranks each forward"
    )
    sync_bn: bool = setting(
        False,
        group="ddp",
        help="BatchNorm over the global batch (GPUs only)",
        needs_gpus="torch's SyncBatchNorm has no CPU implementation",
    )
    """BatchNorm's statistics over the global batch (`SyncBatchNorm`) instead of over each rank's part."""
    comm_hook: CommHook = setting("none", group="ddp", help="compression of the exchanged gradients")
    """How gradients are compressed for the all-reduce."""
    timeout_seconds: float = setting(
        600.0,
        gt=0,
        group="ddp",
        flag="timeout",
        metavar="SECONDS",
        help="longest that a collective may take",
        exempt="changes nothing that is measured",
    )
    """How long a collective may take before the run is given up."""


NEWER_OPTIONS = {name: declared.since for name, declared in settings_of(DdpOptions).items() if declared.since}
"""Options of DDP that are younger than the oldest torch that the lab runs with, and their versions."""


class RunConfig(Part):
    """All of what a run was asked to do, defaults filled in."""

    model: str = setting(
        group="work", typed="resnet50", metavar="NAME", help="any torchvision classification model", effect="work"
    )
    global_batch_size: PositiveCount
    """Samples in one optimizer step, over all devices."""
    per_device_batch_size: PositiveCount
    """Samples in one optimizer step, on the device that gets the most of them."""
    epochs: PositiveCount = setting(
        group="work", typed=5, metavar="N", help="measured epochs", compared="row", effect="length"
    )
    """Measured epochs asked for."""
    data_dir: str | None = setting(
        None,
        group="work",
        metavar="DIR",
        help="folder with one folder of images per class, or with such a train/ and val/",
        otherwise="synthetic images",
        exempt="`data_source` says which images they are",
    )
    """Where the image tree lies."""
    samples_per_epoch: PositiveCount = setting(
        group="work",
        metavar="SAMPLES",
        help="size of the data set",
        on_gpus=51_200,
        on_cores=512,
        otherwise="all of --data-dir",
        compared="row",
        effect="length",
    )
    """Size of the data set; an epoch leaves out the last samples that do not fill a global batch."""
    image_size: PositiveCount = setting(
        group="work",
        metavar="PIXELS",
        help="height and width",
        on_gpus=224,
        on_cores=64,
        fact="image_size_px",
        effect="work",
    )
    """Height and width of the square images, in pixels."""
    num_classes: PositiveCount = setting(
        group="work",
        metavar="CLASSES",
        help="outputs of the last layer",
        otherwise="1000, or as many as --data-dir has",
        usual=1000,
        effect="work",
    )
    learning_rate: FiniteFloat = setting(
        group="work",
        flag="lr",
        metavar="RATE",
        help="learning rate",
        otherwise="0.1 × global batch / 256",
        compared="row",
        fact="learning_rate_per_256_samples",
        effect="work",
    )
    momentum: FiniteFloat = setting(
        group="work", typed=0.9, metavar="M", help="momentum of SGD", compared="row", effect="work"
    )
    weight_decay: FiniteFloat = setting(
        group="work", typed=1e-4, metavar="W", help="weight decay of SGD", compared="row", effect="work"
    )
    seed: Whole = setting(
        group="work",
        typed=0,
        metavar="S",
        help="seed of weights, data, order and augmentation",
        exempt="the same work with other numbers",
    )
    precision: Precision = setting(
        help="of convolutions", otherwise="what PyTorch does by itself here", either="precision", in_ladder=True
    )
    """What the convolutions ran in."""
    memory_format: Literal["channels_first", "channels_last"] = setting(
        "channels_first",
        flag="channels-last",
        sets="channels_last",
        help="keep images and weights as height, width, channels",
        in_ladder=True,
    )
    compile: bool = setting(
        False,
        help="torch.compile the model (not in step 03)",
        not_with_replicas="makes new replicas every step (pytorch#94636)",
        in_ladder=True,
    )
    compile_mode: CompileMode = setting(
        "default", help="what --compile tries; reduce-overhead: CUDA graphs", in_ladder=True
    )
    """What `torch.compile` tries; `reduce-overhead` records the kernels of a step as CUDA graphs."""
    fused_optimizer: bool = setting(False, help="update all weights in one kernel", in_ladder=True)
    """All weights updated by one kernel instead of a few for each group of them."""
    cudnn_benchmark: bool = setting(
        False,
        help="let cuDNN time its algorithms first (GPUs)",
        needs_gpus="CPU cores train without cuDNN",
        in_ladder=True,
    )
    """cuDNN times its algorithms on each convolution it meets, and takes the fastest."""
    prefetch: bool = setting(
        False,
        help="copy a batch while the step before it runs (GPUs, 02 and 04)",
        needs_gpus="to CPU cores nothing is copied",
        not_with_replicas="cuts a batch up itself and sends each device its part",
        in_ladder=True,
    )
    """Batches copied to the GPU on a stream of their own, while the step before them runs."""
    accumulation_steps: PositiveCount = setting(1, metavar="N", help="split a batch in N, one after another")
    """Micro-batches that an optimizer step is split into, one after another."""
    deterministic: bool = setting(False, help="the same numbers in every run; slower on GPUs")
    loader_workers: Count = setting(
        group="measurement",
        flag="workers",
        metavar="N",
        help="loader processes per device",
        otherwise="≤ 4 on GPUs, 0 on CPU",
        compared="row",
        fact="loader_workers_per_device",
    )
    """Loader worker processes, over all devices."""
    warmup_steps: Count = setting(
        group="measurement",
        metavar="N",
        help="steps not counted",
        on_gpus=10,
        on_cores=2,
        compared="row",
        effect="length",
    )
    """Optimizer steps before epoch 1, never counted."""
    data_source: str = setting("synthetic")
    """`synthetic`, or which image tree and how large."""
    ddp: DdpOptions | None = setting(None, compared="row", fact="ddp_options")
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
