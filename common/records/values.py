"""The building blocks of a record: numbers that know what they may be."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, FailFast, Field

SCHEMA_VERSION: Final = 1

Method = Literal["single", "dp", "ddp"]
DeviceKind = Literal["cuda", "cpu"]
Precision = Literal["ieee-fp32", "tf32", "bf16", "fp16"]
FlopKind = Literal["convolution", "matmul"]
"""What torch counts; in precision tf32 the two run in different ones."""

Count = Annotated[int, Field(ge=0)]
PositiveCount = Annotated[int, Field(ge=1)]
Bytes = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
PositiveSeconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Times = Annotated[list[Seconds], FailFast()]
"""One entry a step: so many that a file full of NaN must be refused at the first."""
FiniteFloat = Annotated[float, Field(allow_inf_nan=False)]
Checksum = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]


class Part(BaseModel):
    """Base of every piece of a record. An unknown key is an error: it means another schema."""

    model_config = ConfigDict(extra="forbid")
