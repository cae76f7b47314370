"""What the ranks of one host know of each other when a collective does not end.

When one takes longer than `--timeout`, every rank that waits in it leaves a note in a folder that the ranks of this
host share. The rank without a note is the one that the others wait for. A signal asks it for its stack, which
faulthandler writes without the interpreter's help, and ends it: one that was stopped has to be woken for that, and
would go on.
"""

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
from traceback import FrameSummary

import torch

from common.command_line.terminal import state_and_parent
from common.machine.devices import LocalDevices, from_rank_0
from common.records import Failure
from common.records.disk import is_final

NOTES_SECONDS = 3.0
"""The ranks' clocks for one collective start when each of them enters it: so much later may the last note come."""
STACK_SECONDS = 30.0
"""It takes a tenth of a second where the machine is idle."""
AFTER_A_HANG = "Look at that line: all ranks must come to every exchange. Was the rank only slow? Raise --timeout."
"""What to do about a hang."""
AFTER_A_KILL = (
    "By hand, or by the kernel where memory is full (see dmesg). torchrun --max-restarts=3 with --checkpoint-dir DIR "
    "--resume auto goes on after such an end."
)
FRAME = re.compile(r'File "([^"]+)", line (\d+) in (\S+)')
NOT_OURS = ("site-packages", "/torch/", "<frozen", "/lib/python3")
ENDED = ("", "Z")
"""States of a process that has ended: nothing is left of it, or only what its parent has not read yet."""
UNKNOWN = "?"
"""The state of a process that is there, without /proc to tell it, as on macOS."""


class HangWatch:
    """One rank's side of the folder. Does nothing until `examine` is called."""

    def __init__(self, run_id: str, devices: LocalDevices, pids: list[int]) -> None:
        self._rank, self._pids = devices.rank, dict(enumerate(pids))
        self.folder: Path | None = None
        """Where the ranks leave notes for each other; None where they cannot, or there is one alone."""
        if devices.world.processes > 1 and devices.world.nodes == 1:  # other hosts' processes cannot be asked
            self.folder = from_rank_0(_private_folder(run_id, len(pids)) if devices.rank == 0 else None)
        if not self.folder:
            self._pids = {}
            return
        self._stack = open(self._file(devices.rank, "stack"), "w")  # noqa: SIM115 open until the process ends
        # Of the thread that answers alone: the stack of another, which runs on, can change while it is read, and Python
        # 3.12 has died of it. `chain` leads on to what the signal does by itself: it ends the process.
        faulthandler.register(signal.SIGUSR2, file=self._stack, all_threads=False, chain=True)

    def close(self) -> None:
        """Nothing of this rank stays in the temporary folder; of a hang, others may still read there."""
        if self.folder and not self._file(self._rank, "waits").exists():
            with suppress(OSError):
                self._file(self._rank, "begun").unlink(missing_ok=True)
                self._file(self._rank, "stack").unlink()
                self.folder.rmdir()  # the last one; for all others it is not empty

    def examine(self, error: BaseException) -> Failure | None:
        """What is wrong where a collective did not end in time, which `error` tells; None where no rank of this host is
        to blame."""
        where = own_line(traceback.extract_tb(error.__traceback__))
        self.leave_note("waits", f"{pending_collective()}, at {where}")
        until = monotonic() + NOTES_SECONDS
        while len(self.notes_on("waits")) < len(self._pids) and monotonic() < until:
            sleep(0.05)
        notes = self.notes_on("waits")
        missing = [rank for rank in self._pids if rank not in notes]
        if missing:
            waits = [f"rank {rank} waits for it in {note}" for rank, note in notes.items()]
            return self.blame(missing, "; ".join(waits[:3]))
        each = "; ".join(f"rank {rank} in {note}" for rank, note in notes.items())
        message = f"every rank waits, and not for the same exchange: {each}"
        return Failure(kind="hang", rank=self._rank, message=message, advice=AFTER_A_HANG) if notes else None

    def blame(self, missing: list[int], waits: str) -> Failure:
        """The hang of those who wait for `missing` ranks: asks the first of these where it is, and ends all of them,
        since they may be unable to end themselves."""
        message = f"rank {missing[0]} {self._last_activity(missing[0])}; {waits}"
        for rank in missing:
            if self._state(rank):
                with suppress(OSError):
                    os.kill(self._pids[rank], signal.SIGKILL)
        return Failure(kind="hang", rank=missing[0], message=message, advice=AFTER_A_HANG)

    def killed(self) -> Failure | None:
        """A rank of this host that was ended without a word; None where none was. One that ends by itself, whatever
        the reason, closes its watch first."""
        for rank in self._pids:
            if rank != self._rank and self._state(rank) in ENDED and self._file(rank, "stack").exists():
                message = f"rank {rank} was killed: it has ended without a word, as after SIGKILL"
                return Failure(kind="communication", rank=rank, message=message, advice=AFTER_A_KILL)
        return None

    def give_way(self, record: Path) -> None:
        """For a rank that has lost the others: if they were waiting for it, theirs is the `record`, and its end."""
        until = monotonic() + 3 * NOTES_SECONDS
        while self.notes_on("waits") and not is_final(record) and monotonic() < until:
            sleep(0.05)

    def leave_note(self, kind: str, text: str) -> None:
        """Tell the other ranks of this host: `begun`, how many collectives, or `waits`, in which one."""
        if self.folder:
            self._file(self._rank, kind).write_text(text)

    def notes_on(self, kind: str) -> dict[int, str]:
        """What each rank has noted, of those that have."""
        files = {rank: self._file(rank, kind) for rank in self._pids}
        return {rank: path.read_text() for rank, path in files.items() if path.exists()}

    def _last_activity(self, rank: int) -> str:
        """What a rank does, or did when the first of those that wait for it asked for its stack; which ended it."""
        pid, state, asked = self._pids[rank], self._state(rank), self._file(rank, "asked")
        try:
            asked.symlink_to(f"state {state}")  # unlike a file, it is there with what it says or not at all
        except FileExistsError:
            state = os.readlink(asked).removeprefix("state ")
        else:
            with suppress(OSError):
                if state not in ENDED:
                    # Its main thread, which has the number of the process: of one that was stopped any thread may
                    # answer a signal to the process as a whole, which is all there is with glibc before 2.30.
                    tgkill = getattr(ctypes.CDLL(None), "tgkill", lambda pid, _, number: os.kill(pid, number))
                    tgkill(pid, pid, signal.SIGUSR2)
                if state in ("T", UNKNOWN):
                    os.kill(pid, signal.SIGCONT)  # a stopped process answers no signal
        if state in ENDED:
            return "has ended"
        stack, until = "", monotonic() + STACK_SECONDS
        while monotonic() < until and self._state(rank) not in ENDED:
            sleep(0.05)  # it writes in pieces, and ends once it has written the last
        with suppress(OSError):
            stack = self._file(rank, "stack").read_text()
        activity = "is stopped (SIGSTOP, or a debugger)" if state == "T" else "does not come to the exchange"
        frames = [FrameSummary(file, int(line), name) for file, line, name in reversed(FRAME.findall(stack))]
        return f"{activity}, at {own_line(frames)}"

    def _state(self, rank: int) -> str:
        """The state letter of a rank's process, as Linux gives it: `T` for stopped, one of `ENDED` for ended.

        A process that has the rank's number by now, but another parent, is not of this torchrun: the rank has ended.
        """
        if state_and_parent(os.getpid()) == ("", 0):
            try:
                os.kill(self._pids[rank], 0)  # sends nothing, and fails where there is no such process
            except OSError:
                return ""
            return UNKNOWN
        state, parent = state_and_parent(self._pids[rank])
        return state if parent == os.getppid() else ""

    def _file(self, rank: int, kind: str) -> Path:
        return Path(f"{self.folder}/{rank}.{kind}")


def _private_folder(run_id: str, ranks: int) -> Path | None:
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


def pending_collective() -> str:
    """The collective that this rank waits in, and since when, by torch's flight recorder."""
    try:
        entries = json.loads(torch._C._distributed_c10d._dump_fr_trace_json())["entries"]
        pending = [entry for entry in entries if not entry["retired"]]
        entry = (pending or entries[-1:])[0]  # the collective that has failed counts as ended already
    except (AttributeError, KeyError, IndexError, RuntimeError, TypeError, ValueError):
        return "an exchange that torch's flight recorder does not know"
    name = f"{entry['profiling_name']} (exchange number {entry['collective_seq_id']})"
    return f"{name} {since(entry['time_created_ns'] / 1e9)}"


def since(began: float) -> str:
    """`since 10:15:30 UTC, 20 s`, of a moment in seconds since 1970."""
    moment = datetime.fromtimestamp(began, UTC)
    return f"since {moment:%H:%M:%S} UTC, {(datetime.now(UTC) - moment).total_seconds():.0f} s"


def own_line(frames: list[FrameSummary]) -> str:
    """`04_ddp_training.py:63 in train_step`: the innermost of these frames, which comes last, that is no library's."""
    own = [frame for frame in frames if not any(part in frame.filename for part in NOT_OURS)]
    for frame in own[-1:] or frames[-1:]:
        return f"{Path(frame.filename).name}:{frame.lineno} in {frame.name}"
    return "a place that it does not tell"
