"""What step 05 predicted when it was asked to, with its time: runs that came later show that it came first."""

from __future__ import annotations

from typing import Literal

from common.records.methods import Method
from common.records.record import Record
from common.records.setting_declaration import SCHEMA_VERSION, FailFastList, PositiveCount, RecordModel, Seconds


class StepPrediction(RecordModel):
    """The mean step of one configuration."""

    model: str
    method: Method
    devices: PositiveCount
    per_device_batch_size: PositiveCount
    seconds: Seconds

    def is_of(self, record: Record) -> bool:
        """Whether a run trained this configuration."""
        return (self.model, self.method, self.devices, self.per_device_batch_size) == (
            record.config.model, record.method, record.world.devices, record.config.per_device_batch_size
        )  # fmt: skip


class PredictionRecord(RecordModel):
    """What `05_performance_comparison.py --predict` writes."""

    kind: Literal["prediction"] = "prediction"
    schema_version: Literal[1] = SCHEMA_VERSION
    run_id: str
    started_at: str
    """UTC, ISO 8601."""
    steps: FailFastList[StepPrediction]
