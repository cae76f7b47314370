"""How a run ends early: why it did not complete and what to do about it; Ctrl-C, SIGTERM and SIGHUP."""

from __future__ import annotations

import signal
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist

from common.command_line.parser import under_torchrun
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
        advice = f"Epochs in the record: {epochs_done}. Start the command again for a full run."
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
        advice=f"Epochs in the record: {epochs_done}. Start the command again for a full run.",
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


REASONS = {
    signal.SIGTERM: "ended by SIGTERM: a person, or a batch system at its time limit, has ended this process",
    signal.SIGHUP: "ended by SIGHUP: the terminal was closed; start long runs under nohup, tmux or screen",
}
UNDER_TORCHRUN = (
    "ended by SIGTERM: torchrun passes it on when a person or a batch system has ended the job, and sends it to all "
    "ranks when one of them has died"
)
SIGNALS = (signal.SIGINT, *REASONS)


_heard: list[int] = []
"""Signals that came."""


def interrupt_on_signals() -> None:
    """From here on all of them raise KeyboardInterrupt. What nohup has ignored stays ignored."""
    _heard.clear()
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _interrupt)


def interrupt_if_unheard() -> None:
    """Raise again what was lost: an exception that comes out of a signal may be swallowed by C code that was looking
    something up at that moment, and the run would go on. For between two steps."""
    if _heard:
        _interrupt(_heard[0], None)


def reason_of(error: BaseException) -> BaseException:
    """`error`, or the Ctrl-C that came before it: C code that an exception falls into may raise any other, and an
    exchange breaks when another rank has heard it first."""
    return KeyboardInterrupt() if signal.SIGINT in _heard else error


def ignore_signals() -> None:
    """For the last record: neither a second Ctrl-C nor a loader's worker that dies now must tear it."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler raises an error wherever the program is


@contextmanager
def signals_wait() -> Iterator[None]:
    """While open, a signal is only noted; it counts when the `with` ends. For what must be whole, and does not hang."""
    noted: list[int] = []
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    before = {number: handler for number, handler in handlers.items() if callable(handler)}
    for number in before:
        signal.signal(number, lambda number, frame: noted.append(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if noted:
        before[signal.Signals(noted[0])](noted[0], None)


def _interrupt(number: int, frame: object) -> None:
    _heard.append(number)
    reason = REASONS.get(signal.Signals(number))
    if number == signal.SIGTERM and under_torchrun():
        reason = UNDER_TORCHRUN
    raise KeyboardInterrupt(reason) if reason else KeyboardInterrupt
