"""What a process knows of the run that it takes part in, and the record that this becomes."""

from __future__ import annotations

import argparse
import os
import secrets
import socket
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from rich.markup import escape

from common.command_line.commands import command_line
from common.command_line.resolve import DEFAULTS, resolve
from common.console import screen as console
from common.machine import devices
from common.machine.devices import Place
from common.machine.environment import describe
from common.machine.ranks import from_rank_0, gathered
from common.measuring.clocks import EpochTimes
from common.measuring.gpu_sampler import GpuSampler, idle_watts
from common.records import (
    Anatomy,
    DeviceMemory,
    DeviceUse,
    Epoch,
    Failure,
    Parity,
    RankTrace,
    Record,
    Resumed,
    StaticMemory,
    Validation,
)
from common.running import retry as accumulation
from common.running.tensorboard import Scalars
from common.training import images

STEPS = {"single": "02", "dp": "03", "ddp": "04"}


class Run:
    """What this rank knows of the run so far."""

    def __init__(self, args: argparse.Namespace, place: Place) -> None:
        self.args, self.method, self.folder, self.place = args, args.method, args.results_dir, place
        self.config = resolve(
            args,
            place.world,
            precision=devices.default_precision(place.kind),
            loader_workers=devices.default_workers(place.kind),
            found=images.find(args.data_dir) if args.data_dir else None,
            accumulation_steps=accumulation.carried_over(args),
        )
        self.started_at = _now()
        self.run_id = from_rank_0(self._new_id())
        self.host = socket.gethostname()
        self.pids = gathered(os.getpid())
        self.environment = describe()
        self.console = console.open_console(place.rank, args.quiet)
        self.progress = console.TrainingProgress(self.console)
        self.scalars = Scalars(args.tensorboard, self.run_id, place.rank)
        self.parity: Parity | None = None
        self.resumed: Resumed | None = None
        self.unreadable: set[str] = set()
        self.static_memory: StaticMemory | None = None
        self.flops_per_sample: int | None = None
        self.anatomy_steps = DEFAULTS[place.kind]["anatomy_steps"] if args.anatomy_steps is None else args.anatomy_steps
        self.anatomy: Anatomy | None = None
        self.trace_folder = args.results_dir / "traces" if args.trace else None
        self.epochs: list[Epoch] = []
        self.trace = RankTrace(
            rank=place.rank,
            host=self.host,
            step_seconds=[],
            data_wait_seconds=[],
            host_epoch_seconds=[],
            samples=[],
            checksums=[],
        )
        self.idle_watts = idle_watts(place.indices) if place.kind == "cuda" else {}
        self.measured([DeviceMemory()] * len(place.indices), GpuSampler(()), {})

    def announce(self) -> None:
        """Say what the run is about to do."""
        console.show_plan(self.console, self.method, self.config, self.place.world, self.resumed)

    def epoch_done(
        self,
        epoch: Epoch,
        times: EpochTimes,
        samples: int,
        checksum: str,
        losses: list[float],
        unreadable: list[str],
    ) -> None:
        """Enter a finished epoch: what all ranks did (`epoch`), and what this rank alone knows of it: its times, the
        number and checksum of its samples, each step's loss, the files that could not be decoded."""
        self.epochs.append(epoch)
        self._last_losses, self._last_seconds = losses, times.steps
        self.trace.step_seconds += [round(seconds, 7) for seconds in times.steps]  # to 0.1 µs: a clock tells no more
        self.trace.data_wait_seconds += [round(seconds, 7) for seconds in times.data_waits]
        self.trace.host_epoch_seconds.append(times.host)
        self.trace.samples.append(samples)
        self.trace.checksums.append(checksum)
        self.progress.line(console.epoch_line(epoch, self.config.epochs, sum(times.steps)))
        self._skipped(unreadable)

    def validated(self, validation: Validation | None, unreadable: list[str]) -> None:
        """Enter what the model got right after the last epoch, and the files that it could not be shown."""
        self.epochs[-1].validation = validation
        self.progress.line(console.validation_line(validation))
        self._skipped(unreadable)

    def _skipped(self, files: list[str]) -> None:
        for name in sorted(set(files) - self.unreadable):
            self.progress.line(f"[yellow]  skipped {escape(name)}")
        self.unreadable.update(files)

    def log(self, memories: list[DeviceMemory]) -> None:
        """Write the last epoch to the logs; `memories` are this process's peaks so far."""
        epoch, rate = self.epochs[-1], self.config.learning_rate
        batch = epoch.samples / epoch.steps
        self.scalars.epoch(epoch, batch, self._last_losses, self._last_seconds, rate, memories)

    def parity_done(self, parity: Parity) -> None:
        """Enter the outcome of the parity check."""
        self.parity = parity
        self.progress.line(console.parity_line(parity))

    def traced(self, path: Path) -> None:
        """Say where this rank's trace lies and how to look into it."""
        self.progress.line(f"trace: {path} (one per rank); open it in https://ui.perfetto.dev, which keeps it local")

    def measured(self, memories: list[DeviceMemory], sampler: GpuSampler, joules: dict[int, float]) -> None:
        """Enter what was seen of each device of this process, in their order; `joules` by CUDA index."""
        self.devices = [
            DeviceUse(
                host=self.host,
                rank=self.place.rank,
                index=index,
                name=devices.name(self.place.kind, index),
                capacity_bytes=devices.capacity_bytes(self.place.kind, index),
                memory=memory,
                health=sampler.health(index),
                # A GPU that several replicas share has one counter, entered once.
                energy_joules=joules.get(index) if position == self.place.indices.index(index) else None,
                idle_watts=self.idle_watts.get(index),
            )
            for position, (index, memory) in enumerate(zip(self.place.indices, memories, strict=True))
        ]

    def record(
        self,
        ranks: list[RankTrace],
        used: list[DeviceUse],
        failure: Failure | None = None,
        unreadable: Iterable[str] = (),
    ) -> Record:
        """The record as of now."""
        status = "completed" if failure is None else "interrupted" if failure.kind == "interrupted" else "failed"
        return Record(
            run_id=self.run_id,
            step=STEPS[self.method],
            method=self.method,
            status=status,
            failure=failure,
            command=command_line(self.place.world),
            started_at=self.started_at.isoformat(timespec="seconds"),
            finished_at=_now().isoformat(timespec="seconds"),
            config=self.config,
            environment=self.environment,
            world=self.place.world,
            devices=used,
            static_memory=self.static_memory,
            flops_per_sample=self.flops_per_sample,
            parity=self.parity,
            resumed=self.resumed,
            unreadable_files=sorted(unreadable),
            epochs=self.epochs,
            ranks=ranks,
            anatomy=self.anatomy,
        )

    def _new_id(self) -> str:
        config, world = self.config, self.place.world
        shape = f"{world.devices}x{config.per_device_batch_size}"
        stamp = f"{self.started_at:%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
        return f"{STEPS[self.method]}_{self.method}_{config.model}_{shape}_{config.precision}_{stamp}"


def _now() -> datetime:
    return datetime.now(UTC)
