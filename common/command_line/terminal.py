"""The terminal that a command was started from: what is printed there, Ctrl-Z, and the end of whoever started it.

Output is a stream that no reader and no encoding can make a run fail with. A command in a process group of its own
ends, stops (Ctrl-Z) and goes on (`fg`) with the one that has started it: a terminal's signals reach the group in its
foreground alone, and torchrun gives every rank a session of its own. Imports no torch.
"""

import ctypes
import io
import os
import signal
import sys
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType

from common.formats import printable

PRCTL = ctypes.CDLL(None).prctl if sys.platform == "linux" else None
"""Linux's call for a process's own settings, looked up before any fork: a child that is not yet its own program must
load nothing, since another thread may have held the loader's lock."""
PR_SET_PDEATHSIG = 1


class _Lossy(io.FileIO):
    """A file descriptor that takes everything; what cannot be written (the reader is gone, the disk full) is lost."""

    def write(self, data) -> int:
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def forgive_output() -> None:
    """From here on, printing raises neither OSError nor UnicodeEncodeError: hours of training are worth more."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        try:
            number = stream.fileno()
        except (AttributeError, OSError, ValueError):  # closed by whoever started us, or a test's own stream
            if stream is None:
                setattr(sys, name, io.StringIO())
            continue
        stream.flush()
        forgiving = io.TextIOWrapper(
            io.BufferedWriter(_Lossy(number, "wb", closefd=False)),
            encoding=stream.encoding,
            errors="replace",
            line_buffering=stream.line_buffering or name == "stderr",
            write_through=stream.write_through,
        )
        setattr(sys, name, forgiving)


def tell(*lines: str) -> None:
    """Lines on stderr, without what would steer the terminal: names from files and records may hold anything."""
    print(*(printable(line) for line in lines), sep="\n", file=sys.stderr, flush=True)


def end_with_parent(parent: int = 0) -> None:
    """This process gets SIGTERM when its parent dies in whatever way (Linux; elsewhere it stays). It ends at once where
    `parent`, if it is known, has died before."""
    if PRCTL:
        PRCTL(PR_SET_PDEATHSIG, signal.SIGTERM)
        if parent and os.getppid() != parent:
            os._exit(1)


def stop_with_me(command: Callable[[], int | None]) -> None:
    """Let Ctrl-Z stop, and `fg` continue, what `command()` gives the process id of, and all that it has started.

    A shell without job control has SIGTSTP ignored: it stays so.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        pid, stopped = command(), []
        # The command and its descendants, with those that they start meanwhile. SIGTSTP would not do: it does nothing
        # in a session whose parent is in another one, as a rank's is.
        while new := [one for one in _family(pid) if one not in stopped]:
            for one in new:
                _send(one, signal.SIGSTOP)
            stopped += new
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)  # stops here, and returns after SIGCONT: where no shell could send it, at once
        signal.signal(number, stop)
        for one in stopped:
            _send(one, signal.SIGCONT)

    if signal.getsignal(signal.SIGTSTP) != signal.SIG_IGN:
        signal.signal(signal.SIGTSTP, stop)


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def state_and_parent(pid: int) -> tuple[str, int]:
    """A process's state letter (Linux: `T` stopped, `Z` ended, but not read by its parent yet) and its parent's number;
    empty and 0 where there is no such process."""
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[:2]
    except OSError:
        return "", 0
    return state, int(parent)


def _family(pid: int | None) -> list[int]:
    """A process, if there is one, and its descendants, the eldest first; without /proc the process alone."""
    children: dict[int, list[int]] = defaultdict(list)
    for folder in Path("/proc").glob("[0-9]*"):
        children[state_and_parent(int(folder.name))[1]].append(int(folder.name))
    pids = [pid] if pid else []
    for one in pids:
        pids += children[one]
    return pids
