"""What the fields of a record are made of: numbers that know what they may be, and the declarations of settings."""

from dataclasses import dataclass, replace
from functools import cache
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, FailFast, Field
from pydantic_core import PydanticUndefined

_Item = TypeVar("_Item")

MAX_COUNT: Final = 2**63 - 1
"""What a column of a table can hold."""
MAX_SECONDS: Final = 1e9
"""Thirty years. Without a limit, the square of a crafted time is no number any more."""
MAX_FINITE: Final = 1e30
"""A loss or a rate beyond it is no result; its square and the sum of many are still numbers."""
MAX_TEXTS: Final = 100_000

Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
Whole = Annotated[int, Field(ge=-MAX_COUNT, le=MAX_COUNT)]
PositiveCount = Annotated[int, Field(ge=1, le=MAX_COUNT)]
Seconds = Annotated[float, Field(ge=0, le=MAX_SECONDS, allow_inf_nan=False)]
PositiveSeconds = Annotated[float, Field(gt=0, le=MAX_SECONDS, allow_inf_nan=False)]
FiniteFloat = Annotated[float, Field(ge=-MAX_FINITE, le=MAX_FINITE, allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, le=MAX_FINITE, allow_inf_nan=False)]
FailFastList = Annotated[list[_Item], FailFast()]
"""A list that is refused at its first wrong item: a report of a million of them would fill the memory."""
Times = FailFastList[Seconds]
"""One entry a step."""
Texts = Annotated[list[str], FailFast(), Field(max_length=MAX_TEXTS)]
"""Names of files, say."""


class RecordModel(BaseModel):
    """Base of every piece of a record. An unknown key is an error: it means another schema."""

    model_config = ConfigDict(extra="forbid")


class AnyRecord(RecordModel):
    """Base of every record that is a file of its own."""

    kind: str
    schema_version: Literal[1] = 1
    run_id: str


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is declared of a setting beside its name, type and default: its flag, and what it means for comparisons."""

    help: str = ""
    """Of the flag: without it there is none."""
    group: Literal["work", "practice", "measurement", "ddp"] = "practice"
    """The part of `--help`."""
    flag: str = ""
    """Its name without the dashes, where it is not the field's."""
    formerly: str = ""
    """A name that it had, and that is still understood."""
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
    usual: object = PydanticUndefined
    """What a title leaves out: the field's default, if it has one."""
    models: tuple[str, ...] = ()
    """Libraries whose models have it (`command_line/model_names.py`); all, if none is named."""
    not_with_replicas: str = ""
    """Why methods of one process with several replicas refuse it."""
    needs_gpus: str = ""
    """Why CPU cores refuse it."""
    since: tuple[int, int] | None = None
    """The first version of torch that has it."""

    def words(self, value: Any) -> list[str]:
        """The flag as it is typed for a value, `--flag`, `--no-flag`, `--flag value`; of `settings_of`'s alone."""
        if isinstance(value, bool):
            return [f"--{self.flag}" if value else f"--no-{self.flag}"]
        return [f"--{self.flag}", f"{value:g}" if isinstance(value, float) else str(value)]


def setting(default: Any = PydanticUndefined, help: str = "", gt: float | None = None, **declared: Any) -> Any:
    """A field of a model with the declaration of a setting: `setting(False, "what --help says of it")`."""
    extra: Any = {"setting": Setting(**{"usual": default, **declared}, help=help)}
    return Field(default, gt=gt, json_schema_extra=extra)


@cache
def settings_of(model: type[BaseModel]) -> dict[str, Setting]:
    """The settings that a model declares, by field, with the names of their flags and facts filled in."""
    extras: dict[str, Any] = {name: field.json_schema_extra for name, field in model.model_fields.items()}
    declared: dict[str, Setting] = {name: extra["setting"] for name, extra in extras.items() if extra}
    return {
        name: replace(one, flag=one.flag or name.replace("_", "-"), fact=one.fact or name)
        for name, one in declared.items()
    }


def unusual_settings(settings: BaseModel) -> list[tuple[Setting, Any]]:
    """What is not usual among the flags of a model that runs may differ in, with its value, True for a flag without
    one; without what a model does not have: one of tokens has images of 0 pixels."""
    values = [(one, getattr(settings, name)) for name, one in settings_of(type(settings)).items()]
    return [
        (one, value == one.sets or value)
        for one, value in values
        if one.help and not one.exempt and one.usual not in (value, PydanticUndefined)
        if isinstance(value, bool) or value not in (0, "")
    ]
