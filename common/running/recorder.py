"""What happened in a run, as plain data, and the record that this becomes. Prints nothing and measures nothing."""

from __future__ import annotations

import os
import re
import secrets
import socket
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal

from common.command_line.commands import command_line, launched_by_campaign
from common.machine.devices import LocalDevices
from common.machine.environment import describe
from common.machine.ranks import backend_class, from_rank_0, gathered
from common.measuring.core_wait import CoreLosses
from common.records import (
    MAX_FINITE,
    MAX_TEXTS,
    METHODS,
    DeviceUse,
    Epoch,
    Failure,
    FlopKind,
    Method,
    Parity,
    ProfileRecord,
    RankTrace,
    Record,
    Resumed,
    RunConfig,
    StaticMemory,
    Validation,
)
from common.training.data import checksum, expected_indices
from common.training.epoch import EpochResult


class Recorder:
    """What this rank knows of the run so far. All ranks make theirs at the same time."""

    def __init__(self, method: Method, config: RunConfig, devices: LocalDevices) -> None:
        self.method, self.config, self.local_devices = method, config, devices
        self.started_at = datetime.now(UTC)
        self.run_id = from_rank_0(self._new_id())
        self.host = socket.gethostname()
        self.pids = gathered(os.getpid())
        self.environment = describe()
        self.backend_class = backend_class()
        self.flops_by_kind: dict[FlopKind, int] | None = None
        self.optimizer = ""
        self.bytes_per_sample: int | None = None
        self.parity: Parity | None = None
        self.resumed: Resumed | None = None
        self.epochs: list[Epoch] = []
        self.trace = RankTrace(
            rank=devices.rank,
            host=self.host,
            step_seconds=[],
            data_wait_seconds=[],
            host_epoch_seconds=[],
            samples=[],
            checksums=[],
            core_wait_seconds=[],
            throttled_periods=[],
            steal_seconds=[],
            busy_core_seconds=[],
        )
        self.unreadable: set[str] = set()
        self.devices: list[DeviceUse] = []
        self.static_memory: StaticMemory | None = None
        self.profile: ProfileRecord | None = None

    def epoch_done(self, number: int, done: int, result: EpochResult, losses: CoreLosses) -> Epoch:
        """Enter a finished epoch: what all ranks did, and what this rank alone knows of it.

        `done` steps of it had been taken before this run. `losses`: what others took of this rank's cores meanwhile.
        """
        config = self.config
        samples = result.micro_batches * config.micro_batch_size
        expected = expected_indices(config, number, done * config.global_batch_size, samples)
        epoch = Epoch(
            epoch=number,
            steps=len(result.losses),
            samples=samples,
            mean_loss=result.mean_loss if abs(result.mean_loss) <= MAX_FINITE else None,
            expected_checksum=f"{checksum(expected):016x}",
            checkpoint_seconds=result.checkpoint_seconds,
        )
        self.epochs.append(epoch)
        # To 0.1 µs: no clock tells more.
        self.trace.step_seconds += [round(seconds, 7) for seconds in result.times.steps]
        self.trace.data_wait_seconds += [round(seconds, 7) for seconds in result.times.data_waits]
        self.trace.host_epoch_seconds.append(result.times.host)
        self.trace.samples.append(len(result.indices))
        self.trace.checksums.append(f"{checksum(result.indices):016x}")
        counted = {
            "core_wait_seconds": losses.wait_seconds,
            "throttled_periods": losses.throttled_periods,
            "steal_seconds": losses.steal_seconds,
            "busy_core_seconds": losses.busy_core_seconds,
        }
        for name, value in counted.items():
            if value is not None:
                getattr(self.trace, name).append(value)
        return epoch

    def validated(self, validation: Validation | None) -> None:
        """Enter what the model got right after the last epoch."""
        self.epochs[-1].validation = validation

    def new_unreadable(self, files: Iterable[str]) -> list[str]:
        """Enter files that could not be decoded; returns those that were not known yet."""
        new = sorted(set(files) - self.unreadable)
        self.unreadable.update(new)
        return new

    def record_of_all_ranks(self) -> Record:
        """The record of a completed run. All ranks call it."""
        return self._record(
            "completed",
            ranks=gathered(self.trace),
            devices=[device for of_rank in gathered(self.devices) for device in of_rank],
            unreadable_files=sorted(set().union(*gathered(self.unreadable)))[:MAX_TEXTS],
        )

    def record_of_this_rank(self, failure: Failure) -> Record:
        """The record of a run that did not complete, as this rank knows it: the others may be gone."""
        return self._record(
            "interrupted" if failure.kind in ("interrupted", "unfinished") else "failed",
            failure=failure,
            ranks=[self.trace] if self.epochs else [],
            devices=self.devices,
            unreadable_files=sorted(self.unreadable)[:MAX_TEXTS],
        )

    def _record(self, status: Literal["completed", "failed", "interrupted"], **more) -> Record:
        return Record(
            run_id=self.run_id,
            step=METHODS[self.method].step,
            method=self.method,
            status=status,
            command=command_line(self.local_devices.world),
            started_at=self.started_at.isoformat(timespec="seconds"),
            finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
            config=self.config,
            environment=self.environment,
            world=self.local_devices.world,
            backend_class=self.backend_class,
            static_memory=self.static_memory,
            flops_per_sample=sum(self.flops_by_kind.values()) if self.flops_by_kind else None,
            flops_by_kind=self.flops_by_kind,
            optimizer=self.optimizer,
            bytes_per_sample=self.bytes_per_sample,
            parity=self.parity,
            resumed=self.resumed,
            launch=launched_by_campaign(),
            loader_runs_on=True,
            epochs=self.epochs,
            anatomy=self.profile,
            **more,
        )

    def _new_id(self) -> str:
        config, world = self.config, self.local_devices.world
        shape = f"{world.devices}x{config.per_device_batch_size}"
        stamp = f"{self.started_at:%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
        # Of examples/gpt.py:build, or hf:gpt2?n_layer=2.
        model = re.sub(r"[^\w.-]+", "-", config.model.rpartition("/")[2])[:80]
        return f"{METHODS[self.method].step}_{self.method}_{model}_{shape}_{config.precision}_{stamp}"
