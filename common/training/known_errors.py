"""Errors of torch and limits of the host that people meet, by their words, and what to do about each."""

from __future__ import annotations

from common.messages import message

LOADER_DIED = message(
    "A loader process has died: the kernel ends processes where the memory is full (see dmesg); a bus error, or a "
    "batch that cannot be handed over, means that /dev/shm is, or that too many files are open (ulimit -n). Lower "
    "--workers, or --workers 0."
)
PROCESS_LIMIT = message(
    "No further process or thread may be started: a limit of this user (ulimit -u) or of the control group is reached "
    "(pids.max; docker run --pids-limit). Raise it, or lower --workers."
)
LIMITS = {
    "Too many open files": message(
        "The limit of open files (ulimit -n) is reached: each loader worker holds some, and each batch on its way. "
        "Raise it, ulimit -n 4096, or lower --workers."
    ),
    "[Errno 11] Resource temporarily unavailable": PROCESS_LIMIT,
    "can't start new thread": PROCESS_LIMIT,
    "pthread_create": PROCESS_LIMIT,
}
"""Words of an error that is none of the training's, but a limit that the host sets."""
KNOWN = LIMITS | {
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
UNKNOWN = message("The error is in the training itself: mend it there. The traceback is in the record.")


def advice_for(text: str) -> str:
    """What to do about an error with these words."""
    return next((advice for words, advice in KNOWN.items() if words in text), UNKNOWN).text


def is_host_limit(advice: str) -> bool:
    """Whether it is about a limit of the host, or a loader process: a traceback would lead nobody to that."""
    return advice in {known.text for known in (LOADER_DIED, *LIMITS.values())}


def is_allocation_failure(text: str) -> bool:
    """Whether an error says that memory is full."""
    return any(words in text for words in ("out of memory", "can't allocate memory", "not enough memory"))


def is_timeout(text: str) -> bool:
    """Whether an error of a collective is that it took too long."""
    return any(words in text.lower() for words in ("timed out", "timeout"))


def is_communication(text: str) -> bool:
    """Whether an error is that of a collective: a lost connection, or too long a wait."""
    return is_timeout(text) or any(words in text.lower() for words in ("connection", "nccl", "gloo", "peer"))
