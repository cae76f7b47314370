"""How a setting is declared: a field of a model, with its flag and what its value means for a comparison."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, Field
from pydantic_core import PydanticUndefined


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is declared of a setting beside its name, type and default.

    First its flag, which has the field's name, type and default where nothing else is said; then what its value means
    for a comparison.
    """

    help: str = ""
    """Of the flag: without it there is none."""
    group: Literal["work", "practice", "measurement", "ddp"] = "practice"
    """The part of `--help`."""
    flag: str = ""
    """Its name without the dashes."""
    metavar: str | None = None
    typed: object = None
    """The flag's default where the field has none: a record leaves nothing open."""
    on_gpus: int | None = None
    """The same for GPUs alone."""
    on_cores: int | None = None
    otherwise: str = ""
    """The default in words, where devices or data decide."""
    sets: str | None = None
    """What a flag without a value sets, if not True."""
    has_no: bool = False
    """Whether there is a `--no-` flag, too."""
    either: str = ""
    """Of the flags with the same word here, one may be given."""
    after: str = ""
    """The field that it comes after in `--help`."""

    compared: Literal["group", "row"] = "group"
    """Whether runs that differ in it are not even compared, or compared but not pooled."""
    exempt: str = ""
    """Why runs that differ in it are pooled all the same."""
    effect: Literal["speed", "work", "length"] = "speed"
    """What a change of it is: one that may pay, other work, or a longer measurement."""
    in_ladder: bool = False
    """Whether it is a switch of `make ladder`."""
    fact: str = ""
    """Its name in the tables, where it is not the field's."""
    usual: object = None
    """What a title leaves out, where the field has no default."""
    not_with_replicas: str = ""
    """Why methods of one process with several replicas refuse it."""
    needs_gpus: str = ""
    """Why CPU cores refuse it."""
    since: tuple[int, int] | None = None
    """The first version of torch that has it."""


def setting(default: Any = PydanticUndefined, help: str = "", gt: float | None = None, **declared: Any) -> Any:
    """A field of a model with the declaration of a setting: `setting(False, "what --help says of it")`."""
    extra: Any = {"setting": Setting(help=help, **declared)}
    return Field(default, gt=gt, json_schema_extra=extra)


def settings_of(model: type[BaseModel]) -> dict[str, Setting]:
    """The settings that a model declares, by field."""
    extras = {name: field.json_schema_extra for name, field in model.model_fields.items()}
    return {name: extra["setting"] for name, extra in extras.items() if isinstance(extra, dict)}  # type: ignore[misc]


def usual_values(model: type[BaseModel]) -> dict[str, Any]:
    """By field, what a setting mostly is; the model and its image size, say, are nothing mostly."""
    return {
        name: declared.usual if model.model_fields[name].is_required() else model.model_fields[name].default
        for name, declared in settings_of(model).items()
        if declared.usual is not None or not model.model_fields[name].is_required()
    }


def flag_of(name: str, declared: Setting) -> str:
    """The flag of a field, without its dashes."""
    return declared.flag or name.replace("_", "-")


def unusual_flags(settings: BaseModel) -> dict[str, Any]:
    """What is not usual among the settings that runs may differ in: the value by the flag."""
    usual = usual_values(type(settings))
    return {
        flag_of(name, declared): True if value == declared.sets else value
        for name, declared in settings_of(type(settings)).items()
        if declared.help and not declared.exempt and name in usual and (value := getattr(settings, name)) != usual[name]
    }


def refused_with_replicas(settings: BaseModel) -> dict[str, str]:
    """Those of `unusual_flags` that do not go with a method of several replicas, and why."""
    declared = {flag_of(name, one): one for name, one in settings_of(type(settings)).items()}
    return {flag: reason for flag in unusual_flags(settings) if (reason := declared[flag].not_with_replicas)}


def flag_words(flag: str, value: Any) -> list[str]:
    """A flag as it is typed: `--flag`, `--no-flag`, `--flag value`."""
    if isinstance(value, bool):
        return [f"--{flag}" if value else f"--no-{flag}"]
    return [f"--{flag}", f"{value:g}" if isinstance(value, float) else str(value)]
