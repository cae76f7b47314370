"""The building blocks of a record: numbers that know what they may be."""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, FailFast, Field

_Item = TypeVar("_Item")

SCHEMA_VERSION: Final = 1

DeviceKind = Literal["cuda", "cpu"]
Backend = Literal["nccl", "gloo"]
Precision = Literal["ieee-fp32", "tf32", "bf16", "fp16"]
FlopKind = Literal["convolution", "matmul"]
"""What torch counts; in precision tf32 the two run in different ones."""

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
Bytes = Annotated[int, Field(ge=0, le=MAX_COUNT)]
Seconds = Annotated[float, Field(ge=0, le=MAX_SECONDS, allow_inf_nan=False)]
PositiveSeconds = Annotated[float, Field(gt=0, le=MAX_SECONDS, allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, le=MAX_FINITE, allow_inf_nan=False)]
FiniteFloat = Annotated[float, Field(ge=-MAX_FINITE, le=MAX_FINITE, allow_inf_nan=False)]
FailFastList = Annotated[list[_Item], FailFast()]
"""A list that is refused at its first wrong item: a report of a million of them would fill the memory."""
Times = FailFastList[Seconds]
"""One entry a step."""
Texts = Annotated[list[str], FailFast(), Field(max_length=MAX_TEXTS)]
"""Names of files, say."""
Checksum = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]


class RecordModel(BaseModel):
    """Base of every piece of a record. An unknown key is an error: it means another schema."""

    model_config = ConfigDict(extra="forbid")
