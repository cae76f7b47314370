"""What a run measured, and how it ended."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from common.records.fields import Amount, Count, FailFastList, FiniteFloat, PositiveCount, RecordModel, Seconds, Times

Checksum = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]


class StaticMemory(RecordModel):
    """Bytes that one replica holds whatever the batch, computed from the tensors themselves."""

    parameters: Count
    """Number of parameters."""
    parameter_bytes: Count
    buffer_bytes: Count
    gradient_bytes: Count
    optimizer_state_bytes: Count


class Validation(RecordModel):
    """One pass over the validation images, each counted once."""

    samples: PositiveCount
    top1: Annotated[float, Field(ge=0, le=1)]
    """Share of the samples whose largest logit is the label's."""
    top5: Annotated[float, Field(ge=0, le=1)]
    """Share of the samples whose label is among the five largest logits."""
    mean_loss: FiniteFloat | None
    seconds: Seconds


class Epoch(RecordModel):
    """One measured epoch, all ranks together; of an epoch that a resumed run began in its middle, the rest."""

    epoch: PositiveCount
    steps: PositiveCount
    samples: PositiveCount
    """Samples over all devices."""
    mean_loss: FiniteFloat | None
    """Mean over the epoch's samples; None where it was not finite."""
    expected_checksum: Checksum
    """Checksum of the sample indices that this epoch should have covered (see `RankTrace.checksums`)."""
    checkpoint_seconds: Seconds = 0.0
    """Writing checkpoints, on rank 0; in none of the step times."""
    validation: Validation | None = None


class RankTrace(RecordModel):
    """Raw times of one process, over all measured epochs in order: epoch e has `Record.epochs[e].steps` entries."""

    rank: Count
    host: str
    step_seconds: Times
    """From the end of a step to the end of the next; the first of an epoch starts when all ranks start together."""
    data_wait_seconds: Times
    """The part of each step in which the host waited for the loader."""
    host_epoch_seconds: FailFastList[Seconds]
    """Each epoch by the host's clock, from the common start until this rank's devices had finished."""
    core_wait_seconds: FailFastList[Seconds] = []
    """The part of each epoch in which this rank's main thread, or a replica's on a CPU core that it waited for, could
    have run, but others had the cores; nothing where the system does not count it, and in older records."""
    throttled_periods: FailFastList[Count] = []
    """In each epoch, periods (0.1 s as a rule) in which the CPU quota had stopped the run; nothing without a quota."""
    steal_seconds: FailFastList[Seconds] = []
    """In each epoch, CPU time that this rank's cores, all together, wanted and that a virtual machine's host gave to
    others; nothing where the system does not count it, and in older records."""
    busy_core_seconds: FailFastList[Seconds] = []
    """In each epoch, CPU time in which those cores worked, for whomever; with stolen time, all that they wanted."""
    samples: FailFastList[Count]
    """Samples that this rank consumed, per epoch."""
    loader_start_seconds: Seconds | None = None
    """What a loader that starts anew takes until its first batch is there, measured once after the epochs: what a plain
    `DataLoader` costs at the start of each epoch. In none of the step times, if `Record.loader_runs_on`."""
    checksums: FailFastList[Checksum]
    """Per epoch, the sum of a 64-bit hash of every index consumed, modulo 2**64: it does not depend on order, and sums
    over ranks must give `Epoch.expected_checksum`."""


class Parity(RecordModel):
    """Gradient of the parallel model against one device's gradient of the same samples."""

    outcome: Literal["passed", "failed", "not applicable"]
    """`not applicable` for method `single`: there is nothing to compare; with several shards `note` says why not."""
    max_relative_error: Amount | None = None
    """Largest ‖g − ref‖ / ‖ref‖ over the parameters; None where not finite or not applicable."""
    worst_parameter: str | None = None
    tolerance: float | None = None
    samples: Count = 0
    shards: Count = 0
    seconds: Seconds = 0.0
    note: str = ""

    @model_validator(mode="after")
    def _passed_within_its_tolerance(self) -> Self:
        error, tolerance = self.max_relative_error, self.tolerance
        if self.outcome == "passed" and error is not None and tolerance is not None and error > tolerance:
            raise ValueError(f"parity passed with an error of {error:g}, its tolerance is {tolerance:g}")
        return self


class Resumed(RecordModel):
    """The checkpoint that a run went on from."""

    file: str
    epoch: PositiveCount
    """The first epoch of this run."""
    steps_done: Count
    """Steps of that epoch that lie before the checkpoint."""
    skipped: FailFastList[str] = []
    """Newer checkpoints that could not be read."""


class Launch(RecordModel):
    """The place of a run in a campaign: launches in rounds, each round in an order that is drawn anew."""

    campaign: str
    """`lab`, `sweep`, …"""
    id: str
    """Tells one start of the campaign from another."""
    seed: Count
    """Of the order of all rounds."""
    round: PositiveCount
    """Runs of one round are paired."""
    place: PositiveCount
    """In its round, from 1."""


FailureKind = Literal["out_of_memory", "interrupted", "communication", "hang", "exception", "unfinished"]


class Failure(RecordModel):
    """Why a run did not complete."""

    kind: FailureKind
    rank: Count
    message: str
    advice: str
    """What to do about it."""
    traceback: str | None = None
