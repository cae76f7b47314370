"""Campaigns take turns: one at a time on a machine, whoever started it, in the order in which they came.

Each has a ticket in a folder that all users share: a file whose name is a number, and whose lock the campaign holds
until it ends. Locks end with their process, so that nobody waits for one that was killed.
"""

import errno
import fcntl
import getpass
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
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
DOOR_POLL_SECONDS, DOOR_WORD_SECONDS, DOOR_SECONDS = 0.05, 1.0, 10.0
"""A campaign has the door, the folder's lock, for milliseconds. Who waits for it longer says so, then does without."""
MAX_BYTES = 1000
"""Of a ticket, which anybody may have written."""
Text = Annotated[str, AfterValidator(printable)]


class _Campaign(BaseModel):
    who: Text = "somebody"
    what: Text = "a campaign"
    since: Text = ""
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
        ticket, file = _take_ticket(Path(folder), say)
    except OSError as error:
        say(f"No queue can be kept in {folder} ({error.strerror}): nobody waits for others who measure here.")
        yield
        return
    before, os.environ[VARIABLE] = os.environ.get(VARIABLE), NO_QUEUE  # what it starts is part of its turn
    try:
        _write(file, what, "")
        _wait(ticket, say)
        _write(file, what, f"{datetime.now():%H:%M}")
        yield
    finally:
        os.environ.pop(VARIABLE)
        if before:
            os.environ[VARIABLE] = before
        with suppress(OSError):
            if os.path.samestat(ticket.lstat(), os.fstat(file)):  # who empties the folder frees its numbers for others
                ticket.unlink()
        os.close(file)


def _take_ticket(folder: Path, say: Callable[[str], None]) -> tuple[Path, int]:
    """The next number's path, and the file, open and locked. Nobody else takes one meanwhile: the folder is locked."""
    with ExitStack() as undone:
        undone.callback(os.umask, os.umask(0))  # all users write into the folder, and read each other's tickets
        with suppress(FileExistsError):
            folder.mkdir(0o1777)
        door = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        undone.callback(os.close, door)
        _lock_door(door, folder, say)
        tickets = _tickets(folder)
        ticket = folder / str(int(tickets[-1].name) + 1 if tickets else 1)
        for old in tickets:
            if _holder(old) is None:
                with suppress(OSError):  # another user's
                    old.unlink()
        file = os.open(ticket, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        fcntl.flock(file, fcntl.LOCK_EX)
        return ticket, file


def _lock_door(door: int, folder: Path, say: Callable[[str], None]) -> None:
    """Raises `OSError` where somebody keeps it locked: any program may that can open the folder."""
    started, is_announced = time.monotonic(), False
    while (waited := time.monotonic() - started) <= DOOR_SECONDS:
        with suppress(BlockingIOError):
            fcntl.flock(door, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        if waited > DOOR_WORD_SECONDS and not is_announced:
            is_announced = True
            say(f"Somebody has locked {folder}: waiting up to {DOOR_SECONDS:g} s for it (QUEUE=no does not wait).")
        time.sleep(DOOR_POLL_SECONDS)
    raise TimeoutError(errno.ETIMEDOUT, f"somebody has kept it locked for {DOOR_SECONDS:g} s")


def _tickets(folder: Path) -> list[Path]:
    return sorted((path for path in folder.iterdir() if path.name.isdecimal()), key=lambda path: int(path.name))


def _write(file: int, what: str, since: str) -> None:
    try:
        who = getpass.getuser()
    except (KeyError, OSError):  # a container's user, who has a number alone
        who = f"user {os.getuid()}"
    os.ftruncate(file, 0)
    os.pwrite(file, _Campaign(who=who, what=what, since=since).model_dump_json().encode(), 0)


def _holder(ticket: Path) -> _Campaign | None:
    """The campaign that has a ticket; None where that is not locked, since its process has ended."""
    try:
        file = os.open(ticket, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        try:
            known = json.loads(os.pread(file, MAX_BYTES, 0))
            return _Campaign.model_validate({name: str(value) for name, value in known.items() if value})
        except (ValueError, AttributeError):  # being written, or by somebody else
            return _Campaign()
    else:
        return None
    finally:
        os.close(file)


def _wait(ticket: Path, say: Callable[[str], None]) -> None:
    started, shown = time.monotonic(), ""
    while True:
        earlier = (other for other in _tickets(ticket.parent) if int(other.name) < int(ticket.name))
        before = [campaign for campaign in map(_holder, earlier) if campaign]
        if not before:
            break
        first, *others = before
        text = f"Waiting: {first.who} runs {first.what}" + (f" since {first.since}" if first.since else "")
        text += f"; then {', '.join(campaign.who for campaign in others)}" if others else ""
        if text != shown:
            say(f"{text}; then it is your turn (QUEUE=no does not wait).")
            shown = text
        time.sleep(POLL_SECONDS)
    if shown:
        say(f"Your turn, after {round(time.monotonic() - started)} s.")
