"""Where a step goes."""

from __future__ import annotations

from typing import Literal

from common.records.steps_in_rounds import StepsInRounds, ThreadsOfForward
from common.records.values import Bytes, Count, FailFastList, PositiveCount, RecordModel, Seconds, Times

PhaseName = Literal[
    "data wait",
    "copy",
    "scatter",
    "replicate",
    "forward",
    "gather",
    "loss",
    "backward",
    "reduce",
    "exchange",
    "optimizer",
]
"""Where a step goes, in order. DataParallel alone scatters, replicates, gathers and reduces; `exchange` is what a DDP
rank still waits for when its own backward is done."""
PhaseOrStep = PhaseName | Literal["step"]
"""A phase, or the whole step."""


class RankProfile(RecordModel):
    """Extra steps of one process after the measured epochs, taken apart. One entry a step in every list."""

    rank: Count
    step_seconds: Times
    phases: dict[PhaseName, Times]
    """They follow one another, and add up to the step but for the few calls between them."""
    host_seconds: dict[PhaseOrStep, Times] = {}
    """GPUs: how long the host is in each phase, in further steps that begin with an idle device, so that it never waits
    for room in the queue: the time to launch the work. On CPU devices host and device are one. In records without
    `from_idle_seconds` DataParallel's contain the hooks that watch its replicas."""
    from_idle_seconds: Times = []
    """GPUs: the very steps of `host_seconds`, each until the device is done with it."""
    busy_seconds: dict[PhaseOrStep, Times] = {}
    """GPUs: what the device that holds the model is busy with in each phase, in a few profiled steps; the `step` is
    without DDP's exchange, whose kernels wait for other ranks."""
    loaded_seconds: Times = []
    """GPUs: seconds a step in short runs of steps, fed by the loader; each right before one of `resident_seconds`."""
    resident_seconds: Times = []
    """GPUs: the same of steps whose batch lies on the device already."""
    replica_seconds: FailFastList[Times] = []
    """DataParallel: per replica, its own forward and backward."""
    communication_seconds: Times = []
    """DDP, by torch's own clock: from the start of the first all-reduce of a step to the end of the last. One entry
    less than there are steps, for torch publishes a step's times with the next one; so has `overlap_seconds`."""
    overlap_seconds: Times = []
    """DDP, by torch's own clock: the part of `communication_seconds` that ran beside the backward pass."""
    exchange_on_seconds: Times = []
    """DDP: whole steps as they are, one a round; all ranks start each step together. The kinds of steps of a round
    come in random order; in records without `no_all_reduce_seconds` in the order of these fields."""
    no_all_reduce_seconds: Times = []
    """DDP: whole steps with a comm hook that does nothing: gradients are copied into their buckets, and stay there."""
    exchange_off_seconds: Times = []
    """DDP: whole steps under `no_sync()`: neither buckets nor an exchange."""
    one_bucket_seconds: Times = []
    """DDP: whole steps with all gradients in one bucket, so that nothing overlaps."""
    lead_seconds: dict[str, Seconds] = {}
    """DDP on GPUs: how far the host was ahead of the device, as in training, when a step of these kinds began, by
    `exchange_on` and so on. In records without it they began with idle devices."""
    new_threads_seconds: Times = []
    """Older records, DataParallel as torch runs it, replicas made anew and run in new threads: whole steps. One of each
    of the following kinds comes right after it, in this order; every step begins and ends with idle devices. Newer ones
    have `ProfileRecord.replicated_steps`."""
    kept_threads_seconds: Times = []
    """Older records, DataParallel: the same in threads that are kept from step to step, each for any replica."""
    one_thread_seconds: Times = []
    """Older records, DataParallel: the same with the replicas launched one after another from one thread."""
    kept_replicas_seconds: Times = []
    """Older records, DataParallel: new threads, but replicas that are kept."""


class Gradients(RecordModel):
    """One device: when each gradient of a step is complete, for whoever asks what an exchange would find to do.

    One entry a parameter in every list, in the order of completion. With a hook on every parameter a backward pass may
    take longer than without: shares of it carry over, seconds do not.
    """

    bytes: list[Bytes]
    ready_seconds: list[Seconds]
    """Median, from the start of the last backward pass of a step."""
    backward_seconds: Seconds
    """Median of those backward passes."""


class ProfileRecord(RecordModel):
    """Where a step goes. Measured apart: nothing in here is part of the throughput."""

    steps: PositiveCount
    ranks: FailFastList[RankProfile] = []
    bytes_moved: dict[PhaseName, Bytes] = {}
    """Between devices, in one step, by the phase that moves them; `exchange`: the gradients that one rank gives."""
    gradients: Gradients | None = None
    """One device alone has this and the next two: what a prediction for several devices starts from."""
    replicate_seconds: Times = []
    """The host's time to make one replica of the model, as DataParallel makes one for each device in each step."""
    different_convolutions: Count | None = None
    """In a forward pass, by shape: what a new thread has to plan anew."""
    threads_of_forward: ThreadsOfForward | None = None
    """One device alone, unless it is compiled."""
    replicated_steps: StepsInRounds | None = None
    """DataParallel: {new, kept} threads × {new, kept} replicas, and new replicas that one thread launches in turn
    (`REPLICATED_KINDS`). A kept thread belongs to one device; kept replicas were made before the step. A method that
    keeps its threads has no kinds with new ones."""
    bucket_bytes: FailFastList[Bytes] = []
    """DDP's buckets, in the order in which they become ready."""
    note: str = ""
    """Why something is missing."""
