"""Command line -> RunConfig: one flag, one meaning, in all scripts. Imports no torch: `--help` answers at once."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from math import ceil
from pathlib import Path
from typing import NoReturn, get_args

from common.metrics import DdpOptions, Precision, RunConfig, World

# Per device kind: what a run uses where the command line is silent, so that each step ends within minutes.
DEFAULTS = {
    "cuda": {"image_size": 224, "samples_per_epoch": 51_200, "warmup_steps": 10, "anatomy_steps": 20},
    "cpu": {"image_size": 64, "samples_per_epoch": 512, "warmup_steps": 2, "anatomy_steps": 6},
}


class UsageError(Exception):
    """Bad input. The message is one line that says what is wrong and how to mend it."""


def start(main: Callable[[], object]) -> NoReturn:
    """Run a script's `main` and exit: 0 or the number it returns, 2 with one line on stderr after a `UsageError`."""
    try:
        code = main()
    except UsageError as error:
        if os.environ.get("RANK", "0") == "0":  # under torchrun every rank comes here; one line is enough
            print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    sys.exit(code)


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Shows every default, and the description as it was written."""


class Parser(argparse.ArgumentParser):
    """argparse, but an error is one line (a `UsageError`) instead of the whole usage."""

    def __init__(self, **more) -> None:
        super().__init__(formatter_class=HelpFormatter, **more)

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")


def training_parser(method: str, description: str, batch_size: str) -> Parser:
    """The flags that 02, 03 and 04 share; `batch_size` says which batch this script's `--batch-size` is.

    What is left out and depends on the devices stays None, for `resolve` to fill in.
    """
    parser = Parser(description=description)
    parser.set_defaults(method=method)
    add = parser.add_argument
    add("--model", default="resnet50", metavar="NAME", help="any torchvision classification model")
    add("--batch-size", type=positive_int, default=64, metavar="SAMPLES", help=batch_size)
    add("--epochs", type=positive_int, default=5, metavar="N", help="measured epochs")
    add(
        "--samples-per-epoch",
        type=positive_int,
        metavar="SAMPLES",
        help="size of the data set" + _otherwise("51200 on GPUs, 512 on CPU cores"),
    )
    add(
        "--image-size",
        type=positive_int,
        metavar="PIXELS",
        help="height and width" + _otherwise("224 on GPUs, 64 on CPU cores"),
    )
    add("--num-classes", type=positive_int, default=1000, metavar="CLASSES", help="outputs of the last layer")
    add(
        "--precision",
        choices=get_args(Precision),
        help="of convolutions" + _otherwise("what PyTorch does by itself here"),
    )
    add("--lr", type=nonnegative_float, metavar="RATE", help="learning rate" + _otherwise("0.1 × global batch / 256"))
    add("--momentum", type=nonnegative_float, default=0.9, metavar="M", help="momentum of SGD")
    add("--weight-decay", type=nonnegative_float, default=1e-4, metavar="W", help="weight decay of SGD")
    add("--seed", type=count, default=0, metavar="S", help="seed of weights, data and order")
    add("--workers", type=count, metavar="N", help="loader processes per device" + _otherwise("≤ 4 on GPUs, 0 on CPU"))
    add("--warmup-steps", type=count, metavar="N", help="steps not counted" + _otherwise("10 on GPUs, 2 on CPU cores"))
    add(
        "--device",
        choices=["auto", "cuda", "cpu"],
        default="auto",
        help="auto: GPUs, or CPU cores where there are none",
    )
    add("--anatomy-steps", type=count, metavar="N", help="steps taken apart" + _otherwise("20 on GPUs, 6 on CPU cores"))
    add("--trace", action="store_true", help="also write a trace of a few steps, for Perfetto")
    add("--results-dir", type=Path, default=Path("results"), metavar="DIR", help="where the record goes")
    add("--quiet", action="store_true", help="print errors only")
    return parser


def add_ddp_options(parser: Parser) -> None:
    """The arguments of `DistributedDataParallel` and of its process group, under torch's names."""
    add, switch = parser.add_argument, argparse.BooleanOptionalAction
    add("--find-unused-parameters", action=switch, default=False, help="look for parameters without gradient each step")
    add("--gradient-as-bucket-view", action=switch, default=True, help="gradients live in the all-reduce buckets")
    add(
        "--bucket-cap-mb",
        type=positive_float,
        metavar="MIB",
        help="size" + _otherwise("torch's: 25, the first one 1"),
    )
    add("--broadcast-buffers", action=switch, default=False, help="copy rank 0's buffers to all ranks each forward")
    add("--timeout", type=positive_float, default=600.0, metavar="SECONDS", help="longest that a collective may take")


def resolve(args: argparse.Namespace, world: World, precision: Precision, loader_workers: int) -> RunConfig:
    """Fill in what the command line left open, for these devices.

    `precision` and `loader_workers` (per device) are the defaults of this machine. Raises `UsageError` where the
    batch cannot be laid over the devices or the samples do not fill one.
    """
    defaults = DEFAULTS[world.device_kind]

    def given(name: str) -> int:
        return defaults[name] if getattr(args, name) is None else getattr(args, name)

    global_batch = args.batch_size * world.processes
    per_device = ceil(global_batch / world.devices)
    if ceil(global_batch / per_device) < world.devices:
        raise UsageError(
            f"a global batch of {global_batch} does not reach {world.devices} devices: "
            f"give a multiple, --batch-size {world.devices * per_device} for one"
        )
    if given("samples_per_epoch") < global_batch:
        raise UsageError(
            f"{given('samples_per_epoch')} samples an epoch do not fill one global batch of {global_batch}: "
            f"raise --samples-per-epoch or lower --batch-size"
        )
    ddp = None
    if args.method == "ddp":
        names = ("find_unused_parameters", "gradient_as_bucket_view", "bucket_cap_mb", "broadcast_buffers")
        ddp = DdpOptions(timeout_seconds=args.timeout, **{name: getattr(args, name) for name in names})
    return RunConfig(
        model=args.model,
        num_classes=args.num_classes,
        image_size=given("image_size"),
        global_batch_size=global_batch,
        per_device_batch_size=per_device,
        epochs=args.epochs,
        samples_per_epoch=given("samples_per_epoch"),
        warmup_steps=given("warmup_steps"),
        precision=args.precision or precision,
        learning_rate=0.1 * global_batch / 256 if args.lr is None else args.lr,
        momentum=args.momentum,
        weight_decay=args.weight_decay,
        seed=args.seed,
        loader_workers=(loader_workers if args.workers is None else args.workers) * world.devices,
        ddp=ddp,
    )


def positive_int(text: str) -> int:
    """Argument type: an integer of at least 1."""
    return _number(int, text, lambda value: value >= 1, "a whole number of at least 1")


def count(text: str) -> int:
    """Argument type: an integer of at least 0."""
    return _number(int, text, lambda value: value >= 0, "a whole number of at least 0")


def positive_float(text: str) -> float:
    """Argument type: a finite number above 0."""
    return _number(float, text, lambda value: 0 < value < float("inf"), "a number above 0")


def nonnegative_float(text: str) -> float:
    """Argument type: a finite number of at least 0."""
    return _number(float, text, lambda value: 0 <= value < float("inf"), "a number of at least 0")


def _number(kind: type, text: str, accepts: Callable, meaning: str):
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not accepts(value):
        raise argparse.ArgumentTypeError(f"must be {meaning}, not {text!r}")
    return value


def _otherwise(default: str) -> str:
    # argparse adds "(default: None)" to a help text that does not name its default; this one names it.
    return f" (default: {default})%(default).0s"
