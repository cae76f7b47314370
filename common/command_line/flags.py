"""The flags of 02, 03 and 04, as their settings are declared. Imports no torch: `--help` answers at once."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from common.command_line.options import TrainingOptions
from common.command_line.parser import (
    Parser,
    count,
    nonnegative_float,
    otherwise,
    positive_float,
    positive_int,
    refuse_several_processes,
)
from common.command_line.variables import warn_of_variables
from common.records import METHODS, DdpOptions, Method, RunConfig, Setting, flag_of, settings_of
from common.sentences import Sentences, language_of

GROUPS = {
    "work": "what is trained",
    "practice": "training practice (docs/practice.md)",
    "measurement": "how it is measured",
    "ddp": "DistributedDataParallel (docs/practice.md)",
}
"""The parts of `--help`."""


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
        ddp = DdpOptions(**_taken(given, DdpOptions)) if given["method"] == "ddp" else None
        return TrainingOptions(settings=_taken(given, RunConfig), ddp=ddp, **given)


def _taken(given: dict[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    return {name: given.pop(name) for name in settings_of(model) if name in given}


def training_parser(method: Method, description: str, batch_size: str) -> TrainingParser:
    """The flags that 02, 03 and 04 share; `batch_size` says which batch this script's `--batch-size` is."""
    parser = TrainingParser(description=description)
    parser.set_defaults(method=method)
    _add_flags(parser, RunConfig, TrainingOptions, batch_size=batch_size)
    return parser


def add_ddp_options(parser: Parser) -> None:
    """The arguments of `DistributedDataParallel` and of its process group, under torch's names."""
    _add_flags(parser, DdpOptions)


def _add_flags(parser: Parser, *models: type[BaseModel], **words: str) -> None:
    """The flags that these models declare, in the order of their groups, of those that exclude each other, and of the
    declarations."""
    declared = {name: one for model in models for name, one in settings_of(model).items() if one.help}
    fields = {name: field for model in models for name, field in model.model_fields.items()}
    names: list[str] = []
    for name, one in declared.items():
        names.insert(names.index(one.after) + 1 if one.after else len(names), name)
    exclusive = list(dict.fromkeys(declared[name].either for name in names if declared[name].either))
    for key, title in GROUPS.items():
        of_group = [name for name in names if declared[name].group == key]
        if not of_group:
            continue
        group = parser.add_argument_group(title)
        for either in exclusive:
            alternatives = [name for name in of_group if declared[name].either == either]
            holder = group.add_mutually_exclusive_group() if alternatives else group
            for name in alternatives:
                _add_flag(holder, name, fields[name], declared[name], words)
        for name in of_group:
            if not declared[name].either:
                _add_flag(group, name, fields[name], declared[name], words)


def _add_flag(
    group: argparse._ActionsContainer, name: str, field: FieldInfo, declared: Setting, words: dict[str, str]
) -> None:
    default = declared.typed if field.is_required() else field.default
    text, unsaid = declared.help.format(**words), declared.otherwise
    if declared.on_gpus is not None:
        unsaid += f"{'; ' if unsaid else ''}{declared.on_gpus} on GPUs, {declared.on_cores} on CPU cores"
    how: dict[str, Any]
    if declared.sets:
        how, default, unsaid = {"action": "store_const", "const": declared.sets}, None, "False"
    elif field.annotation is bool:
        how = {"action": argparse.BooleanOptionalAction if declared.has_no else "store_true"}
    else:
        how = {"metavar": declared.metavar, **_read_as(field)}
    text += otherwise(unsaid) if unsaid else ""
    group.add_argument(f"--{flag_of(name, declared)}", dest=name, default=default, help=text, **how)


def _read_as(field: FieldInfo) -> dict[str, Any]:
    """How argparse reads a value of a field's type."""
    kind: Any = field.annotation
    if NoneType in get_args(kind):
        kind = next(one for one in get_args(kind) if one is not NoneType)
    if get_origin(kind) is Literal:
        return {"choices": get_args(kind)}
    is_positive = any(getattr(limit, "gt", None) == 0 or getattr(limit, "ge", None) == 1 for limit in field.metadata)
    readers: dict[type, Callable[[str], Any]] = {
        int: positive_int if is_positive else count,
        float: positive_float if is_positive else nonnegative_float,
        Path: Path,
        str: str,
    }
    return {"type": readers[kind]}
