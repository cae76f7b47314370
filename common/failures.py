"""Why a run did not complete, and what to do about it."""

from __future__ import annotations

import traceback

import torch
import torch.distributed as dist

from common.metrics import Failure, RunConfig


def explain(error: BaseException, config: RunConfig, rank: int, epochs_done: int) -> Failure:
    """What went wrong, and what to do about it."""
    text = str(error).strip() or type(error).__name__
    batch = f"{config.per_device_batch_size} images of {config.image_size} px per device"
    if isinstance(error, KeyboardInterrupt):
        kind, text = "interrupted", text if str(error) else "stopped from the keyboard (Ctrl-C)"
        advice = (
            f"The {epochs_done} epochs that were finished are in the record; start the command again for a full run."
        )
    elif isinstance(error, (torch.OutOfMemoryError, MemoryError)) or _is_allocation_failure(text):
        kind = "out_of_memory"
        advice = f"A batch of {batch} did not fit: lower --batch-size or --image-size, or try --precision bf16."
    elif dist.is_initialized() and isinstance(error, (dist.DistError, RuntimeError)) and _is_communication(text):
        kind = "communication"
        advice = "Another rank ended or hung: its own message is the cause. If all ranks live, raise --timeout."
    else:
        kind, advice = "exception", "This is an error in the training itself; the traceback is in the record."
    return Failure(
        kind=kind,
        rank=rank,
        message=text.split("\n")[0],
        advice=advice,
        traceback="".join(traceback.format_exception(error)),
    )


def _is_allocation_failure(text: str) -> bool:
    return any(words in text for words in ("out of memory", "can't allocate memory", "not enough memory"))


def _is_communication(text: str) -> bool:
    return any(words in text.lower() for words in ("connection", "timed out", "timeout", "nccl", "gloo", "peer"))
