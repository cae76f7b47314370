"""Why a run did not complete, and what to do about it."""

from __future__ import annotations

import traceback

import torch
import torch.distributed as dist

from common.formats import gib
from common.machine.devices import LocalDevices
from common.measuring import memory
from common.records import Failure, FailureKind, RunConfig
from common.running.retry import next_steps
from common.training.known_errors import advice_for, is_allocation_failure, is_communication

BY_THE_STEP = ("train_step", "reference_gradient", "validate")
"""Functions in which memory grows with the micro-batch."""


def explain(error: BaseException, config: RunConfig, devices: LocalDevices, epochs_done: int) -> Failure:
    """What went wrong, and what to do about it."""
    if isinstance(error.__context__, KeyboardInterrupt):  # what fell over it, in a finally, is not the cause
        error = error.__context__
    kind: FailureKind
    text = str(error).strip() or type(error).__name__
    if isinstance(error, KeyboardInterrupt):
        kind, text = "interrupted", text if str(error) else "stopped from the keyboard (Ctrl-C)"
        advice = (
            f"The {epochs_done} epochs that were finished are in the record; start the command again for a full run."
        )
    elif isinstance(error, (torch.OutOfMemoryError, MemoryError)) or is_allocation_failure(text):
        kind = "out_of_memory"
        advice = _for_less_memory(config, devices) if grows_with_the_batch(error) else _for_a_smaller_model(config)
    elif dist.is_initialized() and isinstance(error, (dist.DistError, RuntimeError)) and is_communication(text):
        kind = "communication"
        advice = "Another rank ended or hung: its own message is the cause. If all ranks live, raise --timeout."
    elif type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
        kind, advice = "exception", "torch.compile cannot compile this model here: leave out --compile."
    else:
        kind, advice = "exception", advice_for(text)
    return Failure(
        kind=kind,
        rank=devices.rank,
        message=text.split("\n")[0],
        advice=advice,
        traceback="".join(traceback.format_exception(error)),
    )


def unfinished(epochs_done: int) -> Failure:
    """What a record says while its run goes on, and for ever if nobody comes to say more."""
    return Failure(
        kind="unfinished",
        rank=0,
        message=f"no word after epoch {epochs_done}: the run goes on, or was killed (SIGKILL, memory or power)",
        advice=f"The record has the {epochs_done} epochs until then; start the command again for a full run.",
    )


def grows_with_the_batch(error: BaseException) -> bool:
    """Whether an error came out of a step, so that smaller micro-batches may avoid it."""
    return any(frame.name in BY_THE_STEP for frame in traceback.extract_tb(error.__traceback__))


def _size_of_sample(config: RunConfig) -> tuple[str, str]:
    """What a batch has many of, and the flag that makes each of them smaller: `images of 224 px`, `--image-size`."""
    if config.image_size:
        return f"images of {config.image_size} px", "--image-size"
    if config.unit == "tokens":
        return f"sequences of {config.units_per_sample} tokens", "--sequence-length" if config.sequence_length else ""
    return config.unit, ""


def _for_a_smaller_model(config: RunConfig) -> str:
    flags = ["--num-classes"] if config.num_classes else []
    flags += [flag for flag in (_size_of_sample(config)[1], "--samples-per-epoch") if flag]
    return (
        "It is not the batch that does not fit, but the model, the samples or their list: take a smaller model, or "
        f"lower {', '.join(flags)}."
    )


def _for_less_memory(config: RunConfig, devices: LocalDevices) -> str:
    """Names what did not fit, and how to have the same global batch in less memory."""
    what, flag = _size_of_sample(config)
    at_once = f"{config.per_device_micro_batch_size} {what} per device"
    problem = f"A batch of {at_once} did not fit (peak {gib(memory.highest_peak_bytes(devices))})"
    steps = next_steps(config, devices.world)
    if steps is None:
        return f"{problem}: {f'lower {flag}, or ' if flag else ''}try --precision bf16."
    return (
        f"{problem}: --accumulation-steps {steps} keeps the global batch of {config.global_batch_size}; "
        f"or lower --batch-size{f' or {flag}' if flag else ''}, or try --precision bf16."
    )


def killed_rank(rank: int, traceback: str | None = None) -> Failure:
    """What went wrong where a rank was ended without a word; `traceback` is what this rank has noticed of it."""
    return Failure(
        kind="communication",
        rank=rank,
        message=f"rank {rank} was killed: it has ended without a word, as after SIGKILL",
        advice="By hand, or by the kernel where memory is full (see dmesg). torchrun --max-restarts=3 with "
        "--checkpoint-dir DIR --resume auto goes on after such an end.",
        traceback=traceback,
    )
