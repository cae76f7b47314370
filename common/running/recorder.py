"""What happened in a run: as the record that it becomes, and as logs for TensorBoard while it goes on."""

import os
import re
import secrets
import socket
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from common.command_line.commands import command_line, launched_by_campaign
from common.command_line.terminal import tell
from common.errors import UsageError
from common.formats import printable
from common.machine.devices import LocalDevices, backend_class, from_rank_0, gathered
from common.machine.environment import describe
from common.measuring.clocks import CoreLosses, EpochTimes
from common.messages import Message, message
from common.records import (
    MAX_FINITE,
    MAX_TEXTS,
    METHODS,
    DeviceMemory,
    Epoch,
    Failure,
    Method,
    RankTrace,
    Record,
    RunConfig,
)
from common.training.batch import checksum, expected_indices
from common.training.training import TrainedEpoch


class Recorder:
    """What this rank knows of the run so far: `record`, and its own times in `trace`. All ranks make theirs at once."""

    def __init__(self, method: Method, config: RunConfig, devices: LocalDevices) -> None:
        now, self.pids, step = datetime.now(UTC), gathered(os.getpid()), METHODS[method].step
        # Of examples/gpt.py:build, or hf:gpt2?n_layer=2.
        model = re.sub(r"[^\w.-]+", "-", config.model.rpartition("/")[2])[:80]
        shape = f"{devices.world.devices}x{config.per_device_batch_size}_{config.precision}"
        run_id = f"{step}_{method}_{model}_{shape}_{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
        self.trace = RankTrace(
            rank=devices.rank,
            host=socket.gethostname(),
            step_seconds=[],
            data_wait_seconds=[],
            host_epoch_seconds=[],
            samples=[],
            checksums=[],
        )
        self.record = Record(
            run_id=from_rank_0(run_id),
            step=step,
            method=method,
            status="interrupted",
            command=command_line(devices.world),
            started_at=now.isoformat(timespec="seconds"),
            finished_at="",
            config=config,
            environment=describe(),
            world=devices.world,
            devices=[],
            backend_class=backend_class(),
            launch=launched_by_campaign(),
            loader_runs_on=True,
        )

    def enter_epoch(self, trained: TrainedEpoch, times: EpochTimes, core_losses: CoreLosses) -> Epoch:
        """Enter a finished epoch: what all ranks did, and what this rank alone knows of it."""
        config, trace = self.record.config, self.trace
        samples = len(trained.batches) * config.micro_batch_size
        expected = expected_indices(config, trained.number, trained.steps_before * config.global_batch_size, samples)
        epoch = Epoch(
            epoch=trained.number,
            steps=len(times.steps),
            samples=samples,
            mean_loss=trained.mean_loss if abs(trained.mean_loss) <= MAX_FINITE else None,
            expected_checksum=f"{checksum(expected):016x}",
            checkpoint_seconds=times.pauses,
        )
        self.record.epochs.append(epoch)
        # To 0.1 µs: no clock tells more.
        trace.step_seconds += [round(seconds, 7) for seconds in times.steps]
        trace.data_wait_seconds += [round(seconds, 7) for seconds in times.data_waits]
        trace.host_epoch_seconds.append(times.host)
        indices = torch.cat([batch.indices for batch in trained.batches])
        trace.samples.append(len(indices))
        trace.checksums.append(f"{checksum(indices):016x}")
        for name, value in core_losses._asdict().items():
            if value is not None:
                getattr(trace, name).append(value)
        return epoch

    def new_unreadable(self, files: Iterable[str]) -> list[Message]:
        """Enter files that could not be decoded; returns what to say of those that were not known yet."""
        new = sorted(set(files).difference(self.record.unreadable_files))
        self.record.unreadable_files += new
        return [message("skipped {file}", file=printable(name)) for name in new]

    def record_of_all_ranks(self) -> Record:
        """The record of a completed run. All ranks call it."""
        return self._record(
            status="completed",
            ranks=gathered(self.trace),
            devices=[device for of_rank in gathered(self.record.devices) for device in of_rank],
            unreadable_files={name for of_rank in gathered(self.record.unreadable_files) for name in of_rank},
        )

    def record_of_this_rank(self, failure: Failure) -> Record:
        """The record of a run that did not complete, as this rank knows it: the others may be gone."""
        return self._record(
            status="interrupted" if failure.kind in ("interrupted", "unfinished") else "failed",
            failure=failure,
            ranks=[self.trace] if self.record.epochs else [],
        )

    def unfinished_record(self) -> Record:
        """What a record says while its run goes on, and for ever if nobody comes to say more."""
        done = len(self.record.epochs)
        failure = Failure(
            kind="unfinished",
            rank=0,
            message=f"no word after epoch {done}: the run goes on, or was killed (SIGKILL, memory or power)",
            advice=f"Epochs in the record: {done}. Start the command again for a full run.",
        )
        return self.record_of_this_rank(failure)

    def _record(self, **more: Any) -> Record:
        entered = dict(self.record) | {"finished_at": datetime.now(UTC).isoformat(timespec="seconds")} | more
        return Record(**entered | {"unreadable_files": sorted(entered["unreadable_files"])[:MAX_TEXTS]})


class ScalarLog:
    """Writes to `folder/<run_id>`, from rank 0; without a folder it does nothing."""

    def __init__(self, folder: Path | None, run_id: str, rank: int) -> None:
        self._writer: Any = None
        self._step = 0
        if folder is None:
            return
        if find_spec("tensorboard") is None:
            raise UsageError("--tensorboard needs the package of that name: pip install tensorboard")
        if rank == 0:
            from torch.utils.tensorboard import SummaryWriter

            usual = threading.excepthook

            def excepthook(failed: threading.ExceptHookArgs) -> None:
                """Silent on TensorBoard's own thread, whose error comes back in the log's next call, and is told."""
                if not type(failed.thread).__module__.startswith("tensorboard"):
                    usual(failed)

            threading.excepthook = excepthook
            try:
                self._writer = SummaryWriter(folder / run_id)
            except OSError as error:
                raise UsageError(f"cannot write to --tensorboard {folder} ({error.strerror})") from None

    def epoch(
        self, epoch: Epoch, losses: list[float], seconds: list[float], config: RunConfig, peaks: Sequence[DeviceMemory]
    ) -> None:
        """The steps of an epoch, with this rank's losses and times; then the epoch itself. `peaks`: this process's."""
        if self._writer is None:
            return
        peak_bytes = [memory.peak_allocated_bytes or memory.peak_process_bytes for memory in peaks]
        of_epoch = {
            "epoch/loss": epoch.mean_loss,
            "epoch/samples per second": epoch.samples / sum(seconds),
            "epoch/learning rate": config.learning_rate,
            **{f"epoch/peak GiB of device {number}": peak and peak / 2**30 for number, peak in enumerate(peak_bytes)},
            "validation/top-1": epoch.validation and epoch.validation.top1,
            "validation/top-5": epoch.validation and epoch.validation.top5,
        }
        try:
            for loss, duration in zip(losses, seconds, strict=True):
                self._step += 1
                self._writer.add_scalar("step/loss of rank 0", loss, self._step)
                self._writer.add_scalar("step/samples per second", epoch.samples / epoch.steps / duration, self._step)
            for name, value in of_epoch.items():
                if value is not None:
                    self._writer.add_scalar(name, value, epoch.epoch)
            self._writer.flush()
        except (OSError, RuntimeError, ValueError) as error:  # a full disk: the run is worth more than its log
            tell(f"TensorBoard's log is not written any more ({getattr(error, 'strerror', None) or error})")
            self.close()

    def close(self) -> None:
        """Write what is left, as far as that can be done."""
        writer, self._writer = self._writer, None
        if writer is not None:
            with suppress(OSError, RuntimeError, ValueError):
                writer.close()
