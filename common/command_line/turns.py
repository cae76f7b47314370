"""Campaigns take turns: one at a time on a machine, whoever started it, in the order in which they came.

Each has a ticket in a folder that all users share: a file whose name is a number, and whose lock the campaign holds
until it ends. Locks end with their process, so that nobody waits for one that was killed.
"""

from __future__ import annotations

import fcntl
import getpass
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel

from common.formats import printable

VARIABLE = "LAB_QUEUE"
"""Names another folder; `no`: nobody waits."""
NO_QUEUE = "no"
FOLDER = "/tmp/dp-vs-ddp-lab-queue"
QUEUE_HELP = "wait there until nobody who came before measures on this machine; no: do not wait (default: %(default)s)"
POLL_SECONDS = 1.0
MAX_BYTES = 1000
"""Of a ticket, which anybody may have written."""


class _Ticket(BaseModel):
    who: Annotated[str, AfterValidator(printable)] = "somebody"
    what: Annotated[str, AfterValidator(printable)] = "a campaign"
    since: Annotated[str, AfterValidator(printable)] = ""
    """When its turn began, by the local clock: 14:03; empty while it waits."""


def queue_folder() -> str:
    """Where the tickets are, unless the command line says so: what the environment names, or the machine's folder."""
    return os.environ.get(VARIABLE) or FOLDER


@contextmanager
def taking_turns(what: str, folder: str, say: Callable[[str], None]) -> Iterator[None]:
    """Wait until no campaign that came before this one is left, and say who they are; then it is this one's turn, as
    long as the `with` lasts. `what` is its command. Where no queue can be kept nobody waits, and a line says so."""
    if folder == NO_QUEUE:
        yield
        return
    try:
        number, file = _take_ticket(Path(folder))
    except OSError as error:
        say(f"No queue can be kept in {folder} ({error.strerror}): nobody waits for others who measure here.")
        yield
        return
    before, os.environ[VARIABLE] = os.environ.get(VARIABLE), NO_QUEUE  # what it starts is part of its turn
    try:
        _write(file, what, "")
        _wait(Path(folder), number, say)
        _write(file, what, f"{datetime.now():%H:%M}")
        yield
    finally:
        os.environ.pop(VARIABLE)
        if before:
            os.environ[VARIABLE] = before
        ticket = Path(folder) / str(number)
        with suppress(OSError):
            if os.path.samestat(ticket.lstat(), os.fstat(file)):  # who empties the folder frees its numbers for others
                ticket.unlink()
        os.close(file)


def _take_ticket(folder: Path) -> tuple[int, int]:
    """The next number, and its file, open and locked. It is locked before it has its name: a ticket whose lock is free
    is that of a campaign which is gone."""
    with suppress(FileExistsError):
        folder.mkdir()
        folder.chmod(0o1777)  # all users write into the folder, and read each other's tickets
    with tempfile.NamedTemporaryFile(dir=folder) as made:
        os.fchmod(made.fileno(), 0o644)
        fcntl.flock(made, fcntl.LOCK_EX)
        while True:
            numbers = _numbers(folder)
            number = max(numbers, default=0) + 1
            with suppress(FileExistsError):  # somebody was quicker
                os.link(made.name, folder / str(number))
                break
        file = os.dup(made.fileno())
    for old in numbers:
        if _holder(folder, old) is None:
            with suppress(OSError):  # another user's
                (folder / str(old)).unlink()
    return number, file


def _numbers(folder: Path) -> list[int]:
    return sorted(int(name) for name in os.listdir(folder) if name.isdecimal())


def _write(file: int, what: str, since: str) -> None:
    try:
        who = getpass.getuser()
    except (KeyError, OSError):  # a container's user, who has a number alone
        who = f"user {os.getuid()}"
    os.ftruncate(file, 0)
    os.pwrite(file, _Ticket(who=who, what=what, since=since).model_dump_json().encode(), 0)


def _holder(folder: Path, number: int) -> _Ticket | None:
    """The ticket of a campaign that is alive; None where its lock is free."""
    try:
        file = os.open(folder / str(number), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        try:
            return _Ticket.model_validate_json(os.pread(file, MAX_BYTES, 0))
        except ValueError:  # being written, or by somebody else
            return _Ticket()
    else:
        return None
    finally:
        os.close(file)


def _wait(folder: Path, number: int, say: Callable[[str], None]) -> None:
    started, said = time.monotonic(), ""
    while True:
        tickets = (_holder(folder, other) for other in _numbers(folder) if other < number)
        before = [ticket for ticket in tickets if ticket]
        if not before:
            break
        first, *others = before
        text = f"Waiting: {first.who} runs {first.what}" + (f" since {first.since}" if first.since else "")
        text += f"; then {', '.join(ticket.who for ticket in others)}" if others else ""
        if text != said:
            say(f"{text}; then it is your turn (QUEUE=no does not wait).")
            said = text
        time.sleep(POLL_SECONDS)
    if said:
        say(f"Your turn, after {round(time.monotonic() - started)} s.")
