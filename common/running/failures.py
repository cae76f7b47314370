"""How a run ends early: why it did not complete and what to do about it; for a small program of one's own, too."""

import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
import torch.distributed as dist

from common.formats import gib, printable
from common.hangs.hang_watch import HangWatch
from common.machine.devices import LocalDevices, barrier, gathered, of_torchrun, rank_device
from common.measuring.device_use import highest_peak_bytes
from common.messages import message
from common.records import Failure, FailureKind, RunConfig
from common.running.start import next_steps
from common.training.distributed import process_group

BY_THE_STEP = ("train_step", "reference_gradient", "validate")
"""Functions in which memory grows with the micro-batch."""

LOADER_DIED = message(
    "A loader process has died: the kernel ends processes where the memory is full (see dmesg); a bus error, or a "
    "batch that cannot be handed over, means that /dev/shm is, or that too many files are open (ulimit -n). Lower "
    "--workers, or --workers 0."
)
OPEN_FILES = message(
    "The limit of open files (ulimit -n) is reached: each loader worker holds some, and each batch on its way. "
    "Raise it, ulimit -n 4096, or lower --workers."
)
PROCESS_LIMIT = message(
    "No further process or thread may be started: a limit of this user (ulimit -u) or of the control group is reached "
    "(pids.max; docker run --pids-limit). Raise it, or lower --workers."
)
HOST_LIMITS = [limit.text for limit in (LOADER_DIED, OPEN_FILES, PROCESS_LIMIT)]
"""Advice about the host, and not about the training: a traceback would lead nobody to that."""
KNOWN = {
    "Too many open files": OPEN_FILES,
    "[Errno 11] Resource temporarily unavailable": PROCESS_LIMIT,
    "can't start new thread": PROCESS_LIMIT,
    "pthread_create": PROCESS_LIMIT,
    "deterministic implementation": message("Leave out --deterministic, or train a model without this operation."),
    "more than 1 value per channel": message(
        "BatchNorm needs two values per channel: some device got a single sample. Raise --batch-size to at least two "
        "for each device and micro-batch; with images, --image-size helps, too."
    ),
    "DataLoader worker (pid": LOADER_DIED,
    "Pin memory thread exited": LOADER_DIED,  # on GPUs: it reads what the workers send
    "Expected to have finished reduction": message(
        "Some parameters had no part in the loss, and DDP waits for them: find_unused_parameters=True "
        "(--find-unused-parameters), or let all of them take part."
    ),
    "images in a row cannot be decoded": message("Most of --data-dir is damaged, or no images: copy it again."),
}
"""What to do about errors with these words."""
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")
TIMEOUT = ("timed out", "timeout")
COMMUNICATION = (*TIMEOUT, "connection", "nccl", "gloo", "peer")
"""Words of errors that torch tells apart by their text alone."""
UNKNOWN = message("The error is in the training itself: mend it there. The traceback is in the record.")


def explain(error: BaseException, config: RunConfig, devices: LocalDevices, epochs_done: int) -> Failure:
    """What went wrong, and what to do about it."""
    if isinstance(error.__context__, KeyboardInterrupt):  # what fell over it, in a finally, is not the cause
        error = error.__context__
    kind: FailureKind
    text = str(error).strip() or type(error).__name__
    if isinstance(error, KeyboardInterrupt):
        kind, text = "interrupted", text if str(error) else "stopped from the keyboard (Ctrl-C)"
        advice = f"Epochs in the record: {epochs_done}. Start the command again for a full run."
    elif isinstance(error, (torch.OutOfMemoryError, MemoryError)) or says(OUT_OF_MEMORY, text):
        kind, advice = "out_of_memory", _for_less_memory(config, devices, in_step=grows_with_the_batch(error))
    elif dist.is_initialized() and isinstance(error, (dist.DistError, RuntimeError)) and says(COMMUNICATION, text):
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


def grows_with_the_batch(error: BaseException) -> bool:
    """Whether an error came out of a step, so that smaller micro-batches may avoid it."""
    return any(frame.name in BY_THE_STEP for frame in traceback.extract_tb(error.__traceback__))


def _for_less_memory(config: RunConfig, devices: LocalDevices, in_step: bool) -> str:
    """Names what did not fit, and how to have the same global batch in less memory."""
    what: str = config.unit
    flag = ""  # that makes each of what a batch has many of smaller
    if config.image_size:
        what, flag = f"images of {config.image_size} px", "--image-size"
    elif config.unit == "tokens":
        what = f"sequences of {config.units_per_sample} tokens"
        flag = "--sequence-length" if config.sequence_length else ""
    if not in_step:
        flags = ", ".join(filter(None, ("--num-classes" if config.num_classes else "", flag, "--samples-per-epoch")))
        return (
            "It is not the batch that does not fit, but the model, the samples or their list: take a smaller model, or "
            f"lower {flags}."
        )
    at_once = f"{config.per_device_micro_batch_size} {what} per device"
    problem = f"A batch of {at_once} did not fit (peak {gib(highest_peak_bytes(devices))})"
    steps = next_steps(config, devices.world)
    if steps is None:
        return f"{problem}: {f'lower {flag}, or ' if flag else ''}try --precision bf16."
    return (
        f"{problem}: --accumulation-steps {steps} keeps the global batch of {config.global_batch_size}; "
        f"or lower --batch-size{f' or {flag}' if flag else ''}, or try --precision bf16."
    )


def say_last(text: str, folder: Path | None) -> None:
    """Print a line once torchrun, this process's parent, is gone: else it stands above a hundred lines of its report.

    Where torchrun is going to start the ranks again, nothing is over, and nothing said. By then no rank needs `folder`
    any more, and it is removed.
    """
    if int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", 0)) > int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)):
        text = ""
    code = (
        "import shutil, sys, time\n"
        "def is_there():\n"  # one that has ended stays in /proc until whoever started it has read all it printed
        f"    try: return open('/proc/{os.getppid()}/stat').read().rpartition(')')[2].split()[0] != 'Z'\n"
        "    except OSError: return False\n"
        "until = time.monotonic() + 45\n"
        "while time.monotonic() < until and is_there(): time.sleep(0.05)\n"
        "print(sys.argv[1], end='', file=sys.stderr)\n"
        "if sys.argv[2]: shutil.rmtree(sys.argv[2], ignore_errors=True)"
    )
    with suppress(OSError):
        command = [sys.executable, "-S", "-c", code, f"\n{printable(text)}\n" if text else "", str(folder or "")]
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)


def advice_for(text: str) -> str:
    """What to do about an error with these words."""
    return next((advice for words, advice in KNOWN.items() if words in text), UNKNOWN).text


def says(words: Sequence[str], text: str) -> bool:
    """Whether one of these is in an error's text."""
    return any(word in text.lower() for word in words)


@contextmanager
def watched_ranks(timeout_seconds: float) -> Iterator[int]:
    """This rank's number. Where an exchange takes longer than `timeout_seconds`, the last line of the console says who
    waits for whom, where, and since when; where torch raises an error that the lab knows, it says what to do."""
    devices = rank_device("cpu", of_torchrun("LOCAL_RANK", 0))
    with process_group(devices, timeout_seconds):
        hangs = HangWatch("watched", devices, gathered(os.getpid()))
        try:
            yield devices.rank
            barrier()  # who has gone could not say any more where it is
        except (RuntimeError, dist.DistError) as error:
            _say_why(hangs, error)
            raise SystemExit(1) from None
        hangs.close()


def _say_why(hangs: HangWatch, error: Exception) -> None:
    """One rank speaks; the others, whose connection breaks when it ends, have nothing to add."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun's, once another rank has ended: by telling its stack, say
    text = str(error)
    # A rank whose time is up closes its connections: to the others a hang looks like the end of that rank.
    hang = hangs.examine(error) if says(COMMUNICATION, text) else None
    try:
        if hangs.folder:
            (hangs.folder / "told").touch(exist_ok=False)
    except OSError:
        return
    message = f"failed: {text.splitlines()[0].split('. ')[0]}. {advice_for(text)}"
    say_last(f"hang: {hang.message}. {hang.advice}" if hang else message, hangs.folder)
