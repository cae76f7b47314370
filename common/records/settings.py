"""What a run was asked to do. Every setting is declared here, once.

From its declaration follow its flag with `--help`, its key in the record, whether runs that differ in it are compared
or pooled, what console and page call unusual, and the commands that the lab proposes.
"""

from functools import partial
from math import ceil
from typing import Literal, Self

from pydantic import model_validator

from common.records.fields import Count, FiniteFloat, PositiveCount, RecordModel, Whole, setting, settings_of

Precision = Literal["ieee-fp32", "tf32", "bf16", "fp16"]
CommHook = Literal["none", "fp16", "bf16", "powersgd"]
Exchange = Literal["ddp", "per-parameter", "flat", "overlapped", "mine"]
OF_IMAGES = ("torchvision", "timm", "file")
CompileMode = Literal["default", "reduce-overhead", "max-autotune"]
_work, _switch = partial(setting, group="work", effect="work"), partial(setting, in_ladder=True)
_measurement, _of_ddp = partial(setting, group="measurement", compared="row"), partial(setting, group="ddp")


def has_option(torch: str, since: tuple[int, int]) -> bool:
    """Whether torch of this version, `2.14.1+cu130`, has what came with `since`."""
    return tuple(map(int, torch.split(".")[:2])) >= since


class DdpOptions(RecordModel):
    """Arguments of `DistributedDataParallel`, under torch's own names, and what goes with it."""

    exchange: Exchange = _of_ddp("ddp", "ddp: torch's class; others: built by hand, without torch's options (lessons/)")
    find_unused_parameters: bool = _of_ddp(
        False, "look for parameters without gradient each step", either="graph", has_no=True
    )
    gradient_as_bucket_view: bool = _of_ddp(True, "gradients live in the all-reduce buckets", has_no=True)
    bucket_cap_mb: float | None = _of_ddp(
        None, "size", otherwise="torch's: 25, the first one 1", gt=0, metavar="MIB", either="buckets"
    )
    """MiB of gradients in one all-reduce. To ask for torch's 25 is not the same: the first one then has 25, too."""
    one_bucket: bool = _of_ddp(False, "exchange all gradients at once, at the end", either="buckets")
    """When the last gradient is ready: nothing overlaps with the backward pass."""
    static_graph: bool = _of_ddp(False, "every step uses the same parameters", either="graph")
    batched_grad_copy: bool = _of_ddp(False, "gradients go to their buckets in batches (torch 2.12)", since=(2, 12))
    lazy_bucket_allocation: bool = _of_ddp(False, "buckets get memory when first needed (torch 2.15)", since=(2, 15))
    broadcast_buffers: bool = _of_ddp(False, "copy rank 0's buffers to all ranks each forward", has_no=True)
    sync_bn: bool = _of_ddp(
        False, "BatchNorm over the global batch (GPUs only)",
        needs_gpus="torch's SyncBatchNorm has no CPU implementation",
    )  # fmt: skip
    comm_hook: CommHook = _of_ddp("none", "compression of the exchanged gradients")
    timeout_seconds: float = _of_ddp(
        600.0, "longest that a collective may take", gt=0, flag="timeout", metavar="SECONDS",
        exempt="changes nothing that is measured",
    )  # fmt: skip


NEWER_OPTIONS = {name: declared.since for name, declared in settings_of(DdpOptions).items() if declared.since}
"""Options of DDP that are younger than the oldest torch that the lab runs with, and their versions."""


class RunConfig(RecordModel):
    """All of what a run was asked to do, defaults filled in."""

    model: str = _work(
        help="a torchvision classifier, timm:NAME, hf:TYPE, or my_model.py:build (docs/models.md)", typed="resnet50",
        metavar="NAME",
    )  # fmt: skip
    model_source: str = setting("")
    """What decides besides its name which model this is: a library's version, or a file's `sha256:…`; else nothing."""
    unit: Literal["images", "tokens", "samples"] = setting("images", exempt="follows from the model")
    """What is counted."""
    units_per_sample: PositiveCount = setting(1, exempt="follows from the model")
    global_batch_size: PositiveCount
    """Samples in one optimizer step, over all devices."""
    per_device_batch_size: PositiveCount
    """Samples in one optimizer step, on the device that gets the most of them."""
    epochs: PositiveCount = _work(help="measured epochs", typed=5, metavar="N", compared="row", effect="length")
    """As many were asked for."""
    data: str | None = _work(
        None, "a data set of your own, map-style: my_model.py:dataset", otherwise="made on the fly",
        metavar="FILE:NAME", exempt="`data_source` says which it is", models=("hf", "file"),
    )  # fmt: skip
    data_dir: str | None = _work(
        None, "folder with one folder of images per class, or with such a train/ and val/",
        otherwise="synthetic images", metavar="DIR", exempt="`data_source` says which images they are",
        models=OF_IMAGES,
    )  # fmt: skip
    samples_per_epoch: PositiveCount = _work(
        help="size of the data set", otherwise="all of --data-dir", on_gpus=51_200, on_cores=512, metavar="SAMPLES",
        compared="row", effect="length",
    )  # fmt: skip
    """An epoch leaves out the last samples that do not fill a global batch."""
    image_size: Count = _work(
        help="height and width", on_gpus=224, on_cores=64, metavar="PIXELS", fact="image_size_px", models=OF_IMAGES
    )
    """In pixels; 0 where a model takes no images."""
    sample: str = _work(
        "", "an input of your own model: '3x64x64 float32', '128 int64 1000'", otherwise="images", metavar="SHAPE",
        models=("file",),
    )  # fmt: skip
    sequence_length: Count = _work(0, "of hf:…", on_gpus=512, on_cores=64, metavar="TOKENS", models=("hf",))
    """In tokens; 0 where a model takes none."""
    num_classes: Count = _work(
        help="outputs of the last layer", otherwise="1000, or as many as --data-dir, or your model, has",
        metavar="CLASSES", usual=1000, models=OF_IMAGES,
    )  # fmt: skip
    optimizer: Literal["sgd", "adamw", "own"] = _work("sgd", "own: what your file builds", otherwise="sgd, or own")
    learning_rate: FiniteFloat = _work(
        help="learning rate", otherwise="0.1 (adamw: 0.001) × global batch / 256", flag="lr", metavar="RATE",
        compared="row", fact="learning_rate_per_256_samples",
    )  # fmt: skip
    momentum: FiniteFloat = _work(help="momentum of SGD, beta 1 of AdamW", typed=0.9, metavar="M", compared="row")
    weight_decay: FiniteFloat = _work(help="weight decay", typed=1e-4, metavar="W", compared="row")
    seed: Whole = _work(
        help="seed of weights, data, order and augmentation", typed=0, metavar="S",
        exempt="the same work with other numbers",
    )  # fmt: skip
    precision: Precision = _switch(
        help="of convolutions", otherwise="what PyTorch does by itself here", either="precision"
    )
    """What the convolutions ran in."""
    memory_format: Literal["channels_first", "channels_last"] = _switch(
        "channels_first", "keep images and weights as height, width, channels", flag="channels-last",
        sets="channels_last",
    )  # fmt: skip
    compile: bool = _switch(
        False, "torch.compile the model (not in step 03)",
        not_with_replicas="makes new replicas every step (pytorch#94636)",
    )  # fmt: skip
    compile_mode: CompileMode = _switch("default", "what --compile tries; reduce-overhead: CUDA graphs")
    fused_optimizer: bool = _switch(False, "update all weights in one kernel")
    """In place of a few kernels for each group of them."""
    cudnn_benchmark: bool = _switch(
        False, "let cuDNN time its algorithms first (GPUs)", needs_gpus="CPU cores train without cuDNN"
    )
    """It times them on each convolution that it meets, and takes the fastest."""
    prefetch: bool = _switch(
        False, "copy a batch while the step before it runs (GPUs, 02 and 04)",
        needs_gpus="to CPU cores nothing is copied",
        not_with_replicas="cuts a batch up itself and sends each device its part",
    )  # fmt: skip
    """On a stream of its own."""
    accumulation_steps: PositiveCount = setting(1, "split a batch in N, one after another", metavar="N")
    """Micro-batches of an optimizer step."""
    deterministic: bool = setting(False, "the same numbers in every run; slower on GPUs")
    loader_workers: Count = _measurement(
        help="loader processes per device", otherwise="≤ 4 on GPUs, 0 on CPU", flag="workers", metavar="N",
        fact="loader_workers_per_device",
    )  # fmt: skip
    """Worker processes over all devices."""
    warmup_steps: Count = _measurement(
        help="steps before epoch 1, not counted", on_gpus=10, on_cores=2, flag="uncounted-steps",
        formerly="warmup-steps", metavar="N", effect="length",
    )  # fmt: skip
    """Optimizer steps before epoch 1."""
    data_source: str = setting("synthetic")
    """`synthetic`, or which image tree and how large."""
    ddp: DdpOptions | None = setting(None, compared="row", fact="ddp_options")
    """Set for method `ddp` alone."""

    @model_validator(mode="after")
    def _batch_fits(self) -> Self:
        if self.global_batch_size % self.accumulation_steps:
            raise ValueError(f"{self.accumulation_steps} accumulation steps do not divide {self.global_batch_size}")
        return self

    @property
    def rate(self) -> tuple[str, int]:
        """What speeds are given in, `tokens/s` or `samples/s`, and how many of that a sample has."""
        return ("tokens/s", self.units_per_sample) if self.unit == "tokens" else ("samples/s", 1)

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
