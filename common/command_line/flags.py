"""The flags of 02, 03 and 04. Imports no torch: `--help` answers at once."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from common.command_line.options import TrainingOptions
from common.command_line.parser import (
    Parser,
    add_language,
    count,
    nonnegative_float,
    otherwise,
    positive_float,
    positive_int,
    refuse_several_processes,
)
from common.command_line.variables import warn_of_variables
from common.records import METHODS, CommHook, CompileMode, DdpOptions, Exchange, Method, Precision
from common.sentences import Sentences, language_of


class TrainingParser(Parser):
    """The parser of 02, 03 or 04."""

    def read(self, arguments: Sequence[str] | None = None) -> TrainingOptions:
        """The command line (or `arguments`) as options. Raises `UsageError`."""
        given = vars(self.parse_args(arguments))
        has_ranks = METHODS[given["method"]].launcher == "torchrun"
        if not has_ranks:
            refuse_several_processes()
        if os.environ.get("LOCAL_RANK", "0") == "0" and not given["quiet"]:
            warn_of_variables(Sentences(given["lang"] or language_of()), in_ranks=has_ranks)
        if given["method"] == "ddp":
            names = set(DdpOptions.model_fields) - {"timeout_seconds"}
            chosen = {name: given.pop(name) for name in names}
            given["ddp"] = DdpOptions(timeout_seconds=given.pop("timeout"), **chosen)
        return TrainingOptions(**given)


def training_parser(method: Method, description: str, batch_size: str) -> TrainingParser:
    """The flags that 02, 03 and 04 share; `batch_size` says which batch this script's `--batch-size` is."""
    parser = TrainingParser(description=description)
    parser.set_defaults(method=method)
    _work(parser.add_argument_group("what is trained"), batch_size)
    _practice(parser.add_argument_group("training practice (docs/practice.md)"))
    _measurement(parser.add_argument_group("how it is measured"))
    return parser


def _work(group: argparse._ArgumentGroup, batch_size: str) -> None:
    add = group.add_argument
    add("--model", default="resnet50", metavar="NAME", help="any torchvision classification model")
    add("--batch-size", type=positive_int, default=64, metavar="SAMPLES", help=batch_size)
    add("--epochs", type=positive_int, default=5, metavar="N", help="measured epochs")
    add(
        "--data-dir",
        type=Path,
        metavar="DIR",
        help="folder with one folder of images per class, or with such a train/ and val/"
        + otherwise("synthetic images"),
    )
    add(
        "--samples-per-epoch",
        type=positive_int,
        metavar="SAMPLES",
        help="size of the data set" + otherwise("all of --data-dir; 51200 on GPUs, 512 on CPU cores"),
    )
    add(
        "--image-size",
        type=positive_int,
        metavar="PIXELS",
        help="height and width" + otherwise("224 on GPUs, 64 on CPU cores"),
    )
    add(
        "--num-classes",
        type=positive_int,
        metavar="CLASSES",
        help="outputs of the last layer" + otherwise("1000, or as many as --data-dir has"),
    )
    add("--lr", type=nonnegative_float, metavar="RATE", help="learning rate" + otherwise("0.1 × global batch / 256"))
    add("--momentum", type=nonnegative_float, default=0.9, metavar="M", help="momentum of SGD")
    add("--weight-decay", type=nonnegative_float, default=1e-4, metavar="W", help="weight decay of SGD")
    add("--seed", type=count, default=0, metavar="S", help="seed of weights, data, order and augmentation")


def _practice(group: argparse._ArgumentGroup) -> None:
    precision = group.add_mutually_exclusive_group()
    precision.add_argument(
        "--precision",
        choices=get_args(Precision),
        help="of convolutions" + otherwise("what PyTorch does by itself here"),
    )
    precision.add_argument("--amp", action="store_true", help="short for --precision fp16 on GPUs, bf16 on CPU cores")
    add = group.add_argument
    add("--channels-last", action="store_true", help="keep images and weights as height, width, channels")
    add("--compile", action="store_true", help="torch.compile the model (not in step 03)")
    add("--compile-mode", choices=get_args(CompileMode), default="default",
        help="what --compile tries; reduce-overhead: CUDA graphs")  # fmt: skip
    add("--fused-optimizer", action="store_true", help="update all weights in one kernel")
    add("--cudnn-benchmark", action="store_true", help="let cuDNN time its algorithms first (GPUs)")
    add("--prefetch", action="store_true", help="copy a batch while the step before it runs (GPUs, 02 and 04)")
    add("--accumulation-steps", type=positive_int, default=1, metavar="N", help="split a batch in N, one after another")
    add("--auto-accumulate", action="store_true", help="out of memory: start anew with more --accumulation-steps")
    add("--deterministic", action="store_true", help="the same numbers in every run; slower on GPUs")
    add("--checkpoint-dir", type=Path, metavar="DIR", help="write checkpoints there" + otherwise("none"))
    add(
        "--checkpoint-every",
        type=positive_int,
        metavar="STEPS",
        help="besides the one after each epoch" + otherwise("only that one"),
    )
    add(
        "--resume",
        metavar="FILE",
        help="go on from this checkpoint; auto: from the newest in --checkpoint-dir" + otherwise("start anew"),
    )
    add("--tensorboard", type=Path, metavar="DIR", help="write logs for TensorBoard there" + otherwise("none"))


def _measurement(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--workers", type=count, metavar="N", help="loader processes per device" + otherwise("≤ 4 on GPUs, 0 on CPU"))
    add("--warmup-steps", type=count, metavar="N", help="steps not counted" + otherwise("10 on GPUs, 2 on CPU cores"))
    add(
        "--device",
        choices=["auto", "cuda", "cpu"],
        default="auto",
        help="auto: GPUs, or CPU cores where there are none",
    )
    add("--anatomy-steps", type=count, metavar="N", help="steps taken apart" + otherwise("20 on GPUs, 6 on CPU cores"))
    add("--trace", action="store_true", help="also write a trace of a few steps, for Perfetto")
    add("--results-dir", type=Path, default=Path("results"), metavar="DIR", help="where the record goes")
    add_language(group)
    add("--quiet", action="store_true", help="print errors only")


def add_ddp_options(parser: Parser) -> None:
    """The arguments of `DistributedDataParallel` and of its process group, under torch's names."""
    group = parser.add_argument_group("DistributedDataParallel (docs/practice.md)")
    switch = argparse.BooleanOptionalAction
    graph, buckets = group.add_mutually_exclusive_group(), group.add_mutually_exclusive_group()
    graph.add_argument(
        "--find-unused-parameters",
        action=switch,
        default=False,
        help="look for parameters without gradient each step",
    )
    graph.add_argument("--static-graph", action="store_true", help="every step uses the same parameters")
    buckets.add_argument(
        "--bucket-cap-mb", type=positive_float, metavar="MIB", help="size" + otherwise("torch's: 25, the first one 1")
    )
    buckets.add_argument("--one-bucket", action="store_true", help="exchange all gradients at once, at the end")
    add = group.add_argument
    add(
        "--exchange",
        choices=get_args(Exchange),
        default="ddp",
        help="ddp: torch's class; others: built by hand, without torch's options (common/training/exchanges.py)",
    )
    add("--gradient-as-bucket-view", action=switch, default=True, help="gradients live in the all-reduce buckets")
    add("--batched-grad-copy", action="store_true", help="gradients go to their buckets in batches (torch 2.12)")
    add("--lazy-bucket-allocation", action="store_true", help="buckets get memory when first needed (torch 2.15)")
    add("--broadcast-buffers", action=switch, default=False, help="copy rank 0's buffers to all ranks each forward")
    add("--sync-bn", action="store_true", help="BatchNorm over the global batch (GPUs only)")
    add("--comm-hook", choices=get_args(CommHook), default="none", help="compression of the exchanged gradients")
    add("--timeout", type=positive_float, default=600.0, metavar="SECONDS", help="longest that a collective may take")
