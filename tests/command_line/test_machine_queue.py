"""Campaigns of one machine take turns: real processes, which write down when their turn begins and ends."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT

from common.command_line import machine_queue

# Arguments: folder of the tickets, file to write to, name, seconds of its turn, user (0: as it was started).
PROGRAM = """
import os, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored by all that a shell starts in the background
sys.path.insert(0, {root!r})
from common.command_line import machine_queue
machine_queue.POLL_SECONDS = 0.02
folder, log, name, seconds, user = sys.argv[1:]
machine_queue.getpass.getuser = lambda: name
def write(text):
    with open(log, "a") as file:
        file.write(text + "\\n")
if int(user):
    os.setgid(int(user))
    os.setuid(int(user))
with machine_queue.taking_turns("make lab", folder, lambda text: write(name + ": " + text)):
    write(name + " begins")
    time.sleep(float(seconds))
    write(name + " ends")
"""
BEGINS, WAITS = " begins", ": Waiting"


class Queue:
    """Starts campaigns that do nothing, and reads what they have written."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.file = folder / "queue", folder / "log"
        self.file.touch(0o666)
        self.file.chmod(0o666)
        self.processes: list[subprocess.Popen] = []

    def start(self, name: str, seconds: float = 0, user: int = 0, until: str = "") -> subprocess.Popen:
        """Returns once it has written `until`."""
        program = ["-c", PROGRAM.format(root=str(ROOT)), self.folder, self.file, name, seconds, user]
        process = subprocess.Popen([sys.executable, *map(str, program)])
        self.processes.append(process)
        if until:
            self.wait_for(f"{name}{until}")
        return process

    @property
    def lines(self) -> list[str]:
        return self.file.read_text().splitlines()

    def wait_for(self, beginning: str) -> None:
        for _ in range(1500):
            if any(line.startswith(beginning) for line in self.lines):
                return
            time.sleep(0.02)
        raise AssertionError(f"{beginning!r} did not come: {self.lines}")


@pytest.fixture
def queue(short_folder):
    short_folder.chmod(0o755)
    queue = Queue(short_folder)
    yield queue
    for process in queue.processes:
        process.kill()
        process.wait()


def test_turns_come_in_the_order_of_arrival_and_never_overlap(queue):
    first = queue.start("anna", 600, until=BEGINS)
    names = ["ben", "chris", "dora"]
    for name in names:
        queue.start(name, 0.05, until=WAITS)
    first.kill()
    for process in queue.processes[1:]:
        assert process.wait(60) == 0
    turns_taken = [line for line in queue.lines if line.endswith((" begins", " ends"))]
    assert turns_taken == ["anna begins", *(f"{name} {what}" for name in names for what in ("begins", "ends"))]
    waiting = next(line for line in queue.lines if line.startswith("dora: Waiting"))
    assert waiting.startswith("dora: Waiting: anna runs make lab since ")
    assert waiting.endswith("; then ben, chris; then it is your turn (QUEUE=no does not wait).")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_whoever_is_killed_holds_nobody_up(queue, number):
    holder = queue.start("anna", 600, until=BEGINS)
    waiting = queue.start("ben", until=WAITS)
    last = queue.start("chris", until=WAITS)
    waiting.send_signal(number)
    holder.send_signal(number)
    assert last.wait(60) == 0
    assert "chris begins" in queue.lines
    assert "ben begins" not in queue.lines


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become two other users")
def test_users_wait_for_each_other(queue):
    queue.folder.parent.chmod(0o777)
    holder = queue.start("anna", 600, user=65534, until=BEGINS)
    other = queue.start("ben", user=65533, until=WAITS)
    holder.kill()  # its ticket stays: `ben` may not remove it
    assert other.wait(60) == 0
    assert queue.lines[-2:] == ["ben begins", "ben ends"]
    assert queue.start("anna", user=65534).wait(60) == 0
    assert os.listdir(queue.folder) == []


def test_no_does_not_wait(queue):
    queue.start("anna", 600, until=BEGINS)
    said: list[str] = []
    with machine_queue.taking_turns("make lab", "no", said.append):
        assert said == []


def test_where_no_queue_can_be_kept_nobody_waits_and_a_line_says_so(tmp_path):
    (tmp_path / "file").touch()
    said: list[str] = []
    with machine_queue.taking_turns("make lab", str(tmp_path / "file"), said.append):
        said.append("measures")
    line = f"No queue can be kept in {tmp_path}/file (Not a directory): nobody waits for others who measure here."
    assert said == [line, "measures"]


def test_a_folder_that_stays_locked_holds_nobody_up(tmp_path, monkeypatch):
    monkeypatch.setattr(machine_queue, "DOOR_WORD_SECONDS", 0.1)
    monkeypatch.setattr(machine_queue, "DOOR_SECONDS", 0.5)
    said: list[str] = []
    door = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(door, fcntl.LOCK_EX)
    try:
        with machine_queue.taking_turns("make lab", str(tmp_path), said.append):
            said.append("measures")
    finally:
        os.close(door)
    assert said == [
        f"Somebody has locked {tmp_path}: waiting up to 0.5 s for it (QUEUE=no does not wait).",
        f"No queue can be kept in {tmp_path} (somebody has kept it locked for 0.5 s): nobody waits for others who "
        "measure here.",
        "measures",
    ]


def test_a_folder_that_is_locked_for_a_moment_is_waited_for(tmp_path, monkeypatch):
    door = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(door, fcntl.LOCK_EX)
    monkeypatch.setattr(machine_queue.time, "sleep", lambda seconds: os.close(door))
    with machine_queue.taking_turns("make lab", str(tmp_path), pytest.fail):
        assert [ticket.name for ticket in tmp_path.iterdir()] == ["1"]


def test_only_the_own_ticket_is_removed(tmp_path):
    """Another campaign has its number, once somebody has emptied the folder."""
    with machine_queue.taking_turns("make lab", str(tmp_path), pytest.fail):
        (ticket,) = tmp_path.iterdir()
        ticket.unlink()
        ticket.write_text("another's")
    assert ticket.read_text() == "another's"


def test_what_a_campaign_starts_is_part_of_its_turn(tmp_path, monkeypatch):
    monkeypatch.setenv(machine_queue.VARIABLE, str(tmp_path / "queue"))
    with (
        machine_queue.taking_turns("make lab", machine_queue.queue_folder(), pytest.fail),
        machine_queue.taking_turns("05", machine_queue.queue_folder(), pytest.fail),
    ):
        assert machine_queue.queue_folder() == "no"
    assert machine_queue.queue_folder() == str(tmp_path / "queue")


@pytest.mark.parametrize("text", [b"", b"[]", b'{"who": "\\u001b[31m"}', b"\xff" * 5000])
def test_a_ticket_that_anybody_wrote_breaks_no_line(tmp_path, text):
    with machine_queue.taking_turns("make lab", str(tmp_path), pytest.fail):
        (ticket,) = tmp_path.iterdir()
        ticket.write_bytes(text)
        holder = machine_queue._holder(ticket)
        assert holder.who in ("somebody", "\N{REPLACEMENT CHARACTER}[31m")


@pytest.mark.parametrize("who", ['""', "null", "[]"])
def test_a_ticket_without_a_name_still_says_what_runs(tmp_path, who):
    with machine_queue.taking_turns("make lab", str(tmp_path), pytest.fail):
        (ticket,) = tmp_path.iterdir()
        ticket.write_text(f'{{"who": {who}, "what": "make \\udcff"}}')
        holder = machine_queue._holder(ticket)
        assert (holder.who, holder.what) == ("somebody", "make \N{REPLACEMENT CHARACTER}")
