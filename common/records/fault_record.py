"""What `make faults` writes: one file for each fault that it has caused, or could not cause here."""

from __future__ import annotations

from typing import Literal

from common.records.values import SCHEMA_VERSION, Count, RecordModel, Seconds, Texts

FaultName = Literal[
    "without_torchrun",
    "torchrun_of_one_process",
    "wrong_master_address",
    "world_sizes_disagree",
    "port_in_use",
    "batchnorm_one_sample",
    "out_of_memory",
    "dp_out_of_memory",
    "set_epoch_forgotten",
    "no_sync_left_out",
    "no_sync_misplaced",
    "sum_not_mean",
    "rate_not_scaled",
    "unused_parameters",
    "skipped_collective",
    "uneven_batches",
    "validation_on_rank_0",
    "endless_loader",
    "corrupted_image",
    "empty_class",
    "slow_loader",
    "nan_loss",
    "other_checkpoint",
    "half_checkpoint",
    "hostile_checkpoint",
    "disk_full",
    "rank_killed",
    "rank_stopped",
    "loader_worker_killed",
    "slow_rank",
    "slow_link",
    "busy_neighbour",
    "shm_too_small",
    "two_ranks_one_gpu",
    "no_peer_access",
]
"""Every fault that `common/faults/` knows. Its title and its cure are sentences of the page, `fault.<name>.title`."""
FaultNeed = Literal["linux", "gpu", "two_gpus", "namespaces", "traffic_control", "prlimit"]
"""What a machine may lack for a fault: Linux, one GPU or two, mounts or networks of one's own, `tc`, `prlimit`."""


class FaultRecord(RecordModel):
    """One fault, caused on purpose: what it looked like, the sentence that named it, and whether its cure cured it."""

    kind: Literal["fault"] = "fault"
    schema_version: Literal[1] = SCHEMA_VERSION
    run_id: str
    fault: FaultName
    started_at: str
    """UTC, ISO 8601."""
    hostname: str
    torch: str
    missing: FaultNeed | None = None
    """What this machine lacks for it; then it was not caused, and nothing below is known."""
    command: str
    """What was started, as one would type it; `$SCRATCH` is a folder of its own."""
    seconds: Seconds = 0.0
    seen: Texts = []
    """The last lines of its output."""
    named_by: Literal["record", "console"] | None = None
    """Where the sentence stood: in the run's record, or in what was printed. None where nothing named the fault."""
    sentence: str = ""
    cure_command: str
    cure_seconds: Seconds = 0.0
    cured: bool = False
    """Whether the cure's command ended well, without that sentence."""
    processes_left: Count = 0
    """Processes of the two commands that were still there some seconds after they had ended, and were killed."""

    @property
    def is_solved(self) -> bool:
        """Caused, named, cured, and nothing left behind."""
        return bool(self.named_by and self.cured and not self.processes_left)
