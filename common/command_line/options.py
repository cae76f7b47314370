"""The command line of 02, 03 and 04: its flags, as their settings are declared, and what was asked for by them.

Imports no torch: `--help` answers at once.
"""

import argparse
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict
from pydantic.fields import FieldInfo

from common.command_line.commands import slowing_variables
from common.command_line.parser import (
    Parser,
    count,
    nonnegative_float,
    otherwise,
    positive_float,
    positive_int,
    refuse_several_processes,
)
from common.command_line.terminal import tell
from common.records import METHODS, DdpOptions, Method, RunConfig, Setting, setting, settings_of
from common.sentences import Language, Sentences, language_of

GROUPS = {
    "work": "what is trained",
    "practice": "training practice (docs/practice.md)",
    "measurement": "how it is measured",
    "ddp": "DistributedDataParallel (docs/practice.md)",
}
"""The parts of `--help`."""
_measurement = partial(setting, group="measurement")


class TrainingOptions(BaseModel):
    """What is asked for: the settings of `RunConfig`, and what no record has. None: devices or data decide."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Method
    settings: dict[str, Any]
    """Of `RunConfig`, by its fields, as the command line says them; `loader_workers` are those of one device."""
    ddp: DdpOptions | None = None
    """Set by step 04 alone."""
    gpus: str | None = None
    """Device numbers, `0,1,2,3`; step 03 alone has this flag."""

    threads: Literal["new", "kept"] = "new"
    """Of DataParallel's forward passes; step 03 alone has this flag."""

    batch_size: int = setting(64, "{batch_size}", gt=0, group="work", metavar="SAMPLES", after="model")
    """Samples in one optimizer step of one process: the global batch in 02 and 03, that of one rank in 04."""
    amp: bool = setting(
        False, "short for --precision fp16 on GPUs, bf16 on CPU cores", either="precision", after="precision"
    )
    auto_accumulate: bool = setting(
        False, "out of memory: start anew with more --accumulation-steps", after="accumulation_steps"
    )
    checkpoint_dir: Path | None = setting(None, "write checkpoints there", otherwise="none", metavar="DIR")
    checkpoint_every: int | None = setting(
        None, "besides the one after each epoch", otherwise="only that one", gt=0, metavar="STEPS"
    )
    """Optimizer steps."""
    resume: str | None = setting(
        None, "go on from this checkpoint; auto: from the newest in --checkpoint-dir", otherwise="start anew",
        metavar="FILE",
    )  # fmt: skip
    tensorboard: Path | None = setting(None, "write logs for TensorBoard there", otherwise="none", metavar="DIR")

    device: Literal["auto", "cuda", "cpu"] = _measurement("auto", "auto: GPUs, or CPU cores where there are none")
    anatomy_steps: int | None = _measurement(None, "steps timed phase by phase", on_gpus=20, on_cores=6, metavar="N")
    trace: bool = _measurement(False, "also write a trace of a few steps, for Perfetto")
    results_dir: Path = _measurement(Path("results"), "where the record goes", metavar="DIR")
    lang: Language | None = _measurement(None, "language of what is printed", otherwise="the locale's")
    quiet: bool = _measurement(False, "print errors only")


def training_parser(method: Method, description: str = "") -> Parser:
    """The parser of a method's script."""
    parser, how = Parser(description=description), METHODS[method]
    parser.set_defaults(method=method)
    text = "print a file to begin with, for --model my_model.py:build, and exit"
    parser.add_argument("--model-template", action="store_true", default=argparse.SUPPRESS, help=text)
    if how.launcher == "torchrun":
        _add_flags(parser, "samples per optimizer step and process, that is per device", DdpOptions)
    elif how.has_replicas:
        _add_flags(parser, "global batch: samples per optimizer step, over all devices")
        parser.add_argument("--gpus", metavar="0,1,…", help="devices by number" + otherwise("all"))
        text = "of forward passes: new ones each time, as torch has it, or kept ones, a method of its own"
        parser.add_argument("--threads", choices=["new", "kept"], default="new", help=text)
    else:
        _add_flags(parser, "samples per optimizer step, all on one device")
    return parser


def read_options(parser: Parser, arguments: Sequence[str] | None = None) -> TrainingOptions:
    """The command line of 02, 03 or 04 (or `arguments`) as options. Raises `UsageError`."""
    given = vars(parser.parse_args(arguments))
    if "model_template" in given:
        print((Path(__file__).parents[2] / "examples" / "my_model.py").read_text(), end="")
        parser.exit()
    has_ranks = METHODS[given["method"]].launcher == "torchrun"
    if not has_ranks:
        refuse_several_processes()
    if os.environ.get("LOCAL_RANK", "0") == "0" and not given["quiet"]:
        words = Sentences(given["lang"] or language_of())
        for warning, setting in slowing_variables(has_ranks):  # where torch itself ends by it, before it does
            tell(words.text(warning.with_values(setting=setting, name=setting.partition("=")[0])))
    settings, of_ddp = (
        {name: given.pop(name) for name in settings_of(model) if name in given} for model in (RunConfig, DdpOptions)
    )
    return TrainingOptions(settings=settings, ddp=DdpOptions(**of_ddp) if has_ranks else None, **given)


def _add_flags(parser: Parser, batch_size: str, *more: type[BaseModel]) -> None:
    """All flags, in the order of their groups; within a group those that exclude each other first, then as declared."""
    models: list[type[BaseModel]] = [RunConfig, TrainingOptions, *more]
    fields = {name: field for model in models for name, field in model.model_fields.items()}
    flags = {name: flag for model in models for name, flag in settings_of(model).items() if flag.help}
    order: list[str] = []
    for name, flag in flags.items():  # `after` names the flag that one comes right behind
        order.insert(order.index(flag.after) + 1 if flag.after else len(order), name)
    for key, title in GROUPS.items():
        group = parser.add_argument_group(title)
        of_group = [name for name in order if flags[name].group == key]
        # Flags of one name in `either` exclude each other; an empty name comes last.
        for either in sorted(dict.fromkeys(flags[name].either for name in of_group), key=lambda either: not either):
            place = group.add_mutually_exclusive_group() if either else group
            for name in of_group:
                if flags[name].either == either:
                    _add_flag(place, name, fields[name], flags[name], batch_size)


def _add_flag(
    place: argparse._ActionsContainer, name: str, field: FieldInfo, declared: Setting, batch_size: str
) -> None:
    text, unsaid = declared.help.format(batch_size=batch_size), declared.otherwise
    if declared.on_gpus is not None:
        unsaid += f"{'; ' if unsaid else ''}{declared.on_gpus} on GPUs, {declared.on_cores} on CPU cores"
    default = declared.typed if field.is_required() or unsaid else field.default
    kind: Any = get_args(field.annotation)[0] if NoneType in get_args(field.annotation) else field.annotation
    how: dict[str, Any] = {"metavar": declared.metavar}
    if declared.sets:
        how, default, unsaid = {"action": "store_const", "const": declared.sets}, None, "False"
    elif kind is bool:
        how = {"action": argparse.BooleanOptionalAction if declared.has_no else "store_true"}
    elif get_origin(kind) is Literal:
        how["choices"] = get_args(kind)
    else:
        is_positive = any(getattr(one, "gt", None) == 0 or getattr(one, "ge", None) == 1 for one in field.metadata)
        whole, real = (positive_int, positive_float) if is_positive else (count, nonnegative_float)
        how["type"] = {int: whole, float: real, Path: Path, str: str}[kind]
    text += otherwise(unsaid) if unsaid else ""
    names = [f"--{one}" for one in (declared.flag, declared.formerly) if one]
    place.add_argument(*names, dest=name, default=default, help=text, **how)
