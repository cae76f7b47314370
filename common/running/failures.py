"""Why a run did not complete, and what to do about it."""

from __future__ import annotations

import traceback

import torch
import torch.distributed as dist

from common.formats import gib
from common.machine.devices import Place
from common.measuring import memory
from common.records import Failure, RunConfig
from common.running.retry import next_steps


def explain(error: BaseException, config: RunConfig, place: Place, epochs_done: int) -> Failure:
    """What went wrong, and what to do about it."""
    text = str(error).strip() or type(error).__name__
    if isinstance(error, KeyboardInterrupt):
        kind, text = "interrupted", text if str(error) else "stopped from the keyboard (Ctrl-C)"
        advice = (
            f"The {epochs_done} epochs that were finished are in the record; start the command again for a full run."
        )
    elif isinstance(error, (torch.OutOfMemoryError, MemoryError)) or _is_allocation_failure(text):
        kind = "out_of_memory"
        advice = _for_less_memory(config, place)
    elif dist.is_initialized() and isinstance(error, (dist.DistError, RuntimeError)) and _is_communication(text):
        kind = "communication"
        advice = "Another rank ended or hung: its own message is the cause. If all ranks live, raise --timeout."
    elif "deterministic implementation" in text:
        kind, advice = "exception", "Leave out --deterministic, or train a model without this operation."
    elif type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
        kind, advice = "exception", "torch.compile cannot compile this model here: leave out --compile."
    else:
        kind, advice = "exception", "This is an error in the training itself; the traceback is in the record."
    return Failure(
        kind=kind,
        rank=place.rank,
        message=text.split("\n")[0],
        advice=advice,
        traceback="".join(traceback.format_exception(error)),
    )


def _for_less_memory(config: RunConfig, place: Place) -> str:
    """Names what did not fit, and how to have the same global batch in less memory."""
    at_once = f"{config.per_device_micro_batch_size} images of {config.image_size} px per device"
    problem = f"A batch of {at_once} did not fit (peak {gib(memory.highest_peak_bytes(place))})"
    steps = next_steps(config, place.world)
    if steps is None:
        return f"{problem}: lower --image-size, or try --precision bf16."
    return (
        f"{problem}: --accumulation-steps {steps} keeps the global batch of {config.global_batch_size}; "
        "or lower --batch-size or --image-size, or try --precision bf16."
    )


def _is_allocation_failure(text: str) -> bool:
    return any(words in text for words in ("out of memory", "can't allocate memory", "not enough memory"))


def _is_communication(text: str) -> bool:
    return any(words in text.lower() for words in ("connection", "timed out", "timeout", "nccl", "gloo", "peer"))
