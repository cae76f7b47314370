"""A hang in one sentence: which rank the others wait for, in which call, since when, and where each of them stands.

When an exchange takes longer than `--timeout`, every rank that waits in it leaves a note in a folder that the ranks of
this host share. The rank without a note is the one that the others wait for. A signal asks it for its stack, which
faulthandler writes without the interpreter's help, and ends it: one that was stopped has to be woken for that, and
would go on.
"""

from __future__ import annotations

import ctypes
import faulthandler
import json
import os
import re
import signal
import tempfile
import traceback
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, sleep

import torch

from common.machine.devices import Place
from common.machine.ranks import from_rank_0
from common.records.disk import is_final

NOTES_SECONDS = 3.0
"""The ranks' clocks for one exchange start when each of them enters it: so much later may the last note come."""
STACK_SECONDS = 30.0
"""It takes a tenth of a second where the machine is idle."""
FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+) in (?P<name>\S+)')
NOT_OURS = ("site-packages", "/torch/", "<frozen", "/lib/python3")


class HangWatch:
    """What the ranks of one host know of each other. Does nothing until `examine` is called."""

    def __init__(self, run_id: str, place: Place, pids: list[int]) -> None:
        self._place, self._pids = place, pids
        alone = place.world.processes == 1 or place.world.nodes > 1  # other hosts' processes cannot be asked
        folder = None if alone else from_rank_0(_own_folder(run_id, len(pids)) if place.rank == 0 else None)
        self._alone = folder is None
        self.folder: Path | None = folder
        """Where the ranks leave notes for each other; None where they cannot, or there is one alone."""
        if self._alone:
            return
        self._stack = open(self._file(place.rank, "stack"), "w")  # noqa: SIM115 faulthandler writes to it until the end
        # Of the thread that answers alone: the stack of another, which runs on, can change while it is read, and
        # Python 3.12 has died of it. `chain` leads on to what the signal does by itself: it ends the process.
        faulthandler.register(signal.SIGUSR2, file=self._stack, all_threads=False, chain=True)

    def close(self) -> None:
        """Nothing of this rank stays in the temporary folder; of a hang, others may still read there."""
        if self.folder and not self._file(self._place.rank, "waits").exists():
            with suppress(OSError):
                self._file(self._place.rank, "begun").unlink(missing_ok=True)
                self._file(self._place.rank, "stack").unlink()
                self.folder.rmdir()  # the last one; for all others it is not empty

    def examine(self, where: str) -> tuple[str, int] | None:
        """The sentence and the rank that is to blame, after an exchange that did not end in time; None where no rank
        of this host is. `where` is the line at which this rank waits."""
        if self._alone:
            return None
        call = _pending_call()
        self._file(self._place.rank, "waits").write_text(f"{call}, at {where}")
        others = [rank for rank in range(len(self._pids)) if rank != self._place.rank]
        until = monotonic() + NOTES_SECONDS
        while monotonic() < until and not all(self._file(rank, "waits").exists() for rank in others):
            sleep(0.05)
        waiting = {rank: self._file(rank, "waits") for rank in range(len(self._pids))}
        notes = {rank: path.read_text() for rank, path in waiting.items() if path.exists()}
        silent = [rank for rank in others if rank not in notes]
        if not silent:
            told = "; ".join(f"rank {rank} in {note}" for rank, note in sorted(notes.items()))
            return f"every rank waits, and not for the same exchange: {told}", self._place.rank
        waits = [f"rank {rank} waits for it in {note}" for rank, note in sorted(notes.items())[:3]]
        sentence = self.sentence(silent, "; ".join(waits))
        self.end(silent)
        return sentence, silent[0]

    def note_exchanges(self, begun: int) -> None:
        """Tell the other ranks how many exchanges this one has begun so far."""
        if not self._alone:
            self._file(self._place.rank, "begun").write_text(str(begun))

    def ranks_behind(self, begun: int) -> dict[int, int]:
        """Ranks of this host that have begun fewer exchanges, and how many; none where nothing is known of them."""
        told = {rank: self._file(rank, "begun") for rank in range(len(self._pids)) if not self._alone}
        numbers = {rank: int(path.read_text() or 0) for rank, path in told.items() if path.exists()}
        return {rank: number for rank, number in numbers.items() if number < begun}

    def sentence(self, guilty: list[int], waits: str) -> str:
        """What is said of a hang: how it is with the first of the ranks to blame, and who waits."""
        return f"rank {guilty[0]} {self._state(guilty[0])}; {waits}"

    def end(self, ranks: list[int]) -> None:
        """For ranks that may be unable to end themselves."""
        for rank in ranks:
            if _is_sibling(self._pids[rank]):
                with suppress(OSError):
                    os.kill(self._pids[rank], signal.SIGKILL)

    def give_way(self, record: Path) -> None:
        """For a rank that has lost the others: if they were waiting for it, theirs is the `record`, and its end."""
        until = monotonic() + 3 * NOTES_SECONDS
        while self.folder and any(self.folder.glob("*.waits")) and not is_final(record) and monotonic() < until:
            sleep(0.05)

    def killed(self) -> int | None:
        """A rank of this host that was ended without a word; None where none was. One that ends by itself, whatever
        the reason, closes its watch first."""
        gone = (rank for rank, pid in enumerate(self._pids) if _state_letter(pid) in ("", "Z") or not _is_sibling(pid))
        return None if self._alone else next((rank for rank in gone if self._file(rank, "stack").exists()), None)

    def _state(self, rank: int) -> str:
        """What a rank does, or did when the first of those that wait for it asked; which ended it."""
        letter = self._ask(rank)
        if letter in ("", "Z"):
            return "has ended"
        stack, until = "", monotonic() + STACK_SECONDS
        while monotonic() < until and _state_letter(self._pids[rank]) not in ("", "Z"):
            sleep(0.05)  # it writes in pieces, and ends once it has written the last
        with suppress(OSError):
            stack = self._file(rank, "stack").read_text()
        what = "is stopped (SIGSTOP, or a debugger)" if letter == "T" else "does not come to the exchange"
        return f"{what}, at {own_line(stack)}"

    def _ask(self, rank: int) -> str:
        """Have a rank write its stack and end, unless another has asked it. Returns the state that it was in: `T` for
        stopped, empty or `Z` for ended."""
        pid, asked = self._pids[rank], self._file(rank, "asked")
        letter = _state_letter(pid) if _is_sibling(pid) else ""
        try:
            asked.symlink_to(f"state {letter}")  # unlike a file, it is there with what it says or not at all
        except FileExistsError:
            return os.readlink(asked).removeprefix("state ")
        if letter not in ("", "Z"):
            with suppress(OSError):
                _send_to_main_thread(pid, signal.SIGUSR2)
                if letter == "T":
                    os.kill(pid, signal.SIGCONT)  # a stopped process answers no signal
        return letter

    def _file(self, rank: int, kind: str) -> Path:
        assert self.folder, "nobody to leave a note for"
        return self.folder / f"{rank}.{kind}"


def waiting_line(frames: traceback.StackSummary) -> str:
    """The line of this lab, or of the user's own code, at which the innermost of these frames is."""
    text = "\n".join(f'File "{frame.filename}", line {frame.lineno} in {frame.name}' for frame in reversed(frames))
    return own_line(text)


def own_line(stack: str) -> str:
    """`04_ddp_training.py:63 in train_step`: of a stack, innermost first, the first line that is no library's."""
    frames = list(FRAME.finditer(stack))
    for frame in [*(f for f in frames if not any(part in f["file"] for part in NOT_OURS)), *frames]:
        return f"{Path(frame['file']).name}:{frame['line']} in {frame['name']}"
    return "a place that it does not tell"


def _own_folder(run_id: str, ranks: int) -> Path | None:
    """A new folder that nobody else can enter, for the ranks of this host; None where there is no room for one.

    Each rank's file is there from the beginning: a rank that parts early must not be the last one, and take it away.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix=f"lab-{run_id}-"))
        for rank in range(ranks):
            (folder / f"{rank}.stack").touch()
    except OSError:
        return None
    return folder


def _pending_call() -> str:
    """The exchange that this rank waits in, and since when, by torch's flight recorder."""
    try:
        entries = json.loads(torch._C._distributed_c10d._dump_fr_trace_json())["entries"]
        open_ones = [entry for entry in entries if not entry["retired"]]
        last = (open_ones or entries[-1:])[0]  # the exchange that has failed counts as ended already
    except (AttributeError, KeyError, IndexError, RuntimeError, TypeError, ValueError):
        return "an exchange that torch's flight recorder does not know"
    began = datetime.fromtimestamp(last["time_created_ns"] / 1e9, UTC)
    waited = (datetime.now(UTC) - began).total_seconds()
    number = f"{last['profiling_name']} (exchange number {last['collective_seq_id']})"
    return f"{number} since {began:%H:%M:%S} UTC, {waited:.0f} s"


def _send_to_main_thread(pid: int, number: int) -> None:
    """Of a process that was stopped, any thread may answer a signal that is sent to the process as a whole."""
    tgkill = getattr(ctypes.CDLL(None), "tgkill", None)
    if tgkill is None:  # glibc before 2.30
        os.kill(pid, number)
    else:
        tgkill(pid, pid, number)  # the main thread has the number of the process


def _state_letter(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def _is_sibling(pid: int) -> bool:
    """Whether a process is another rank of this torchrun, and not one that has its number by now."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]) == os.getppid()
    except OSError:
        return False
