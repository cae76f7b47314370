"""The two kinds of record: one file each."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import Literal

from pydantic import model_validator

from common.records.host import Environment, Requirement, World, joint_model
from common.records.methods import METHODS, Method, Step
from common.records.outcome import DeviceUse, Epoch, Failure, Launch, Parity, RankTrace, Resumed, StaticMemory
from common.records.probe_results import Probes
from common.records.settings import RunConfig
from common.records.step_phases import Anatomy
from common.records.values import SCHEMA_VERSION, Bytes, Count, FlopKind, Many, Part, Texts


class Record(Part):
    """One launch of 02, 03 or 04: one JSON file."""

    kind: Literal["run"] = "run"
    schema_version: Literal[1] = SCHEMA_VERSION
    run_id: str
    step: Step
    method: Method
    status: Literal["completed", "failed", "interrupted"]
    failure: Failure | None = None
    command: str
    started_at: str
    """UTC, ISO 8601."""
    finished_at: str
    config: RunConfig
    environment: Environment
    world: World
    devices: Many[DeviceUse]
    static_memory: StaticMemory | None = None
    flops_per_sample: Count | None = None
    """Floating-point operations of forward and backward, counted by torch on the very model; None where it cannot."""
    flops_by_kind: dict[FlopKind, Count] | None = None
    """The same, split into convolutions and matrix products, which need not run in one precision."""
    backend_class: str | None = None
    """The class that carried the exchange between processes: torch 2.15 rewrote NCCL's under the old name."""
    parity: Parity | None = None
    resumed: Resumed | None = None
    launch: Launch | None = None
    """The place of this run in a campaign; None where it was started by hand."""
    loader_runs_on: bool = False
    """Whether the loader's workers ran on from one epoch to the next. In older records they started anew with each
    epoch, and the first step of an epoch contains their start."""
    unreadable_files: Texts = []
    """Images that could not be decoded; the next readable one took the place of each."""
    epochs: Many[Epoch] = []
    ranks: Many[RankTrace] = []
    anatomy: Anatomy | None = None

    @property
    def epoch_slices(self) -> list[slice]:
        """Of the lists with an entry a step, the part of each epoch."""
        ends = accumulate(epoch.steps for epoch in self.epochs)
        return [slice(end - epoch.steps, end) for end, epoch in zip(ends, self.epochs, strict=True)]

    @property
    def failed_parity(self) -> bool:
        """Whether the parallel gradient was wrong, so that the run's speed means nothing."""
        return self.parity is not None and self.parity.outcome == "failed"

    @model_validator(mode="after")
    def _names_unlike_devices(self) -> Record:
        """Records of older versions of the lab have the first device's model for all."""
        names = [device.name for device in self.devices]
        if self.world.device_kind == "cuda" and len(set(names)) > 1:
            self.world = self.world.model_copy(update={"device_model": joint_model(names)})
        return self

    @model_validator(mode="after")
    def _lengths_agree(self) -> Record:
        steps = sum(epoch.steps for epoch in self.epochs)
        for trace in self.ranks:
            if len(trace.step_seconds) != steps or len(trace.data_wait_seconds) != steps:
                raise ValueError(f"rank {trace.rank}: {len(trace.step_seconds)} step times for {steps} steps")
            if not len(trace.host_epoch_seconds) == len(trace.samples) == len(trace.checksums) == len(self.epochs):
                raise ValueError(f"rank {trace.rank}: per-epoch lists do not match {len(self.epochs)} epochs")
            if {len(trace.core_wait_seconds), len(trace.steal_seconds)} - {0, len(self.epochs)}:
                raise ValueError(f"rank {trace.rank}: waits for a core do not match {len(self.epochs)} epochs")
            if len(trace.steal_seconds) != len(trace.busy_core_seconds):
                raise ValueError(f"rank {trace.rank}: stolen time without the time that the cores worked")
        ranks = [trace.rank for trace in self.ranks]
        if len(set(ranks)) < len(ranks):
            raise ValueError(f"a rank twice among {ranks[:8]}")
        if any(later.epoch != epoch.epoch + 1 for epoch, later in pairwise(self.epochs)):
            raise ValueError("epochs that do not follow each other")
        if self.status == "completed" and not (self.epochs and self.ranks):
            raise ValueError("a completed run without epochs")
        if self.status == "completed" and self.failure:
            raise ValueError("a completed run with a failure")
        return self

    @model_validator(mode="after")
    def _method_and_world_agree(self) -> Record:
        """Of completed runs alone: a run that failed may have failed before it had its devices, and nothing is ever
        compared with it."""
        if self.status != "completed":
            return self
        method, devices, processes = METHODS[self.method], self.world.devices, self.world.processes
        if self.step != method.step:
            raise ValueError(f"method {self.method} by step {self.step}, which is that of step {method.step}")
        if devices > 1 and not method.is_parallel:
            raise ValueError(f"method {self.method} on {devices} devices")
        if processes != method.processes(devices):
            raise ValueError(f"method {self.method} on {devices} devices in {processes} processes")
        if len(self.ranks) != processes:
            raise ValueError(f"times of {len(self.ranks)} ranks for {processes} processes")
        return self


class EnvironmentRecord(Part):
    """What step 01 writes."""

    kind: Literal["environment"] = "environment"
    schema_version: Literal[1] = SCHEMA_VERSION
    run_id: str
    command: str
    started_at: str
    environment: Environment
    peer_access: Many[Many[bool]] = []
    """[i][j]: GPU i can read GPU j's memory directly."""
    shared_memory_bytes: Bytes | None = None
    open_files_limit: Count | None = None
    own_name_found: bool | None = None
    """Whether the host's own name leads to an address of this host, where torchrun lets the ranks meet."""
    slowing_variables: list[str] | None = None
    """Of `environment.variables` and those of the transport, the ones that spoil what is measured."""
    loopback_up: bool | None = None
    """Whether its processes reach each other at 127.0.0.1."""
    rendezvous_port_free: bool | None = None
    backends: Many[str] = []
    driver_gpus: Many[str] = []
    """Names of all GPUs that the driver knows, whether torch can use them or not."""
    gpu_processes: Many[Count | None] = []
    """Processes that computed on each of `environment.gpus` when step 01 looked; itself is not one."""
    cuda_visible_devices: str | None = None
    """The variable CUDA_VISIBLE_DEVICES, which hides GPUs from torch."""
    cuda_error: str | None = None
    """Why torch, built for CUDA, cannot use the driver's GPUs."""
    torchvision_error: str | None = None
    """Why torchvision cannot be imported."""
    disk_free_bytes: Bytes | None = None
    """Room in the results folder."""
    requirements: Many[Requirement] = []
    probes: Probes | None = None
    """What the parts can do; None where it was not measured."""
