"""Logs for TensorBoard: loss, throughput, learning rate and memory, as the run goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from common.command_line.terminal import tell
from common.errors import UsageError
from common.records import DeviceMemory, Epoch, RunConfig
from common.training.epoch import EpochResult


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

            threading.excepthook = _without_the_logs(threading.excepthook)
            try:
                self._writer = SummaryWriter(folder / run_id)
            except OSError as error:
                raise UsageError(f"cannot write to --tensorboard {folder} ({error.strerror})") from None

    def epoch(self, epoch: Epoch, result: EpochResult, config: RunConfig, peaks: Sequence[DeviceMemory]) -> None:
        """The steps of an epoch, with this rank's losses and times; then the epoch itself. `peaks`: this process's."""
        if self._writer is None:
            return
        try:
            self._write(self._writer, epoch, result, config, peaks)
        except (OSError, RuntimeError, ValueError) as error:  # a full disk: the run is worth more than its log
            tell(f"TensorBoard's log is not written any more ({getattr(error, 'strerror', None) or error})")
            self._give_up()

    def _write(
        self, writer: Any, epoch: Epoch, result: EpochResult, config: RunConfig, peaks: Sequence[DeviceMemory]
    ) -> None:
        for loss, duration in zip(result.losses, result.times.steps, strict=True):
            self._step += 1
            writer.add_scalar("step/loss of rank 0", loss, self._step)
            writer.add_scalar("step/samples per second", epoch.samples / epoch.steps / duration, self._step)
        add = writer.add_scalar
        if epoch.mean_loss is not None:
            add("epoch/loss", epoch.mean_loss, epoch.epoch)
        add("epoch/samples per second", epoch.samples / sum(result.times.steps), epoch.epoch)
        add("epoch/learning rate", config.learning_rate, epoch.epoch)
        for position, memory in enumerate(peaks):
            peak = memory.peak_allocated_bytes or memory.peak_process_bytes
            if peak is not None:
                add(f"epoch/peak GiB of device {position}", peak / 2**30, epoch.epoch)
        if epoch.validation:
            add("validation/top-1", epoch.validation.top1, epoch.epoch)
            add("validation/top-5", epoch.validation.top5, epoch.epoch)
        writer.flush()

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._give_up()

    def _give_up(self) -> None:
        writer, self._writer = self._writer, None
        with suppress(OSError, RuntimeError, ValueError):
            writer.close()


def _without_the_logs(hook: Callable) -> Callable:
    """The hook, but for TensorBoard's own thread, whose error comes back in the next call of the log, and is told."""

    def silent(failed: threading.ExceptHookArgs) -> None:
        if not type(failed.thread).__module__.startswith("tensorboard"):
            hook(failed)

    return silent
