"""What causes a fault, from outside: what is shown, recorded, killed, and left. Only one test here starts torch."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, environment

from common.analysis.page.wording import Wording
from common.records import FaultRecord
from lessons.fault_lab import __main__ as fault_lab
from lessons.fault_lab import acts
from lessons.fault_lab.__main__ import FaultLab
from lessons.fault_lab.acts import ACTS, MARK, Processes
from lessons.fault_lab.fault import Fault

# Two "ranks" without torch, and who waits for them.
RANKS = """
import os, subprocess, sys, time
sleep = [sys.executable, "-c", "import sys, time; time.sleep(float(sys.argv[1]))"]
ranks = [subprocess.Popen([*sleep, sys.argv[1]], env=os.environ | {"RANK": str(rank)}, start_new_session=True)
         for rank in (0, 1)]
print("epoch 1/2", flush=True)
code = ranks[1].wait()
print(f"rank 1 was killed by signal {-code}" if code else "both are there")
ranks[0].kill()
"""
KILL_RANK = ACTS["kill_rank"]
NOTHING = Fault("disk_full", "echo something", "echo cured", "not to be found")


@pytest.fixture
def caused(tmp_path, monkeypatch, capsys):
    """Cause some faults; their records, the exit code, and what was printed."""
    monkeypatch.setattr(acts, "PATIENCE_SECONDS", 0.5)

    def cause(*faults):
        code = FaultLab(faults, tmp_path, Wording("en")).run()
        files = sorted((tmp_path / "faults").glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
        return [FaultRecord.model_validate_json(path.read_bytes()) for path in files], code, capsys.readouterr()

    return cause


def test_a_killed_rank_is_named_and_the_cure_is_run(caused, tmp_path):
    (tmp_path / "ranks.py").write_text(RANKS)
    start, cured = (f"python {tmp_path}/ranks.py {seconds}" for seconds in (60, 0))
    (record,), code, printed = caused(Fault("rank_killed", start, cured, r"rank 1 was .* signal 9", act=KILL_RANK))
    assert (record.named_by, record.sentence) == ("console", "rank 1 was killed by signal 9")
    assert record.seen == ["epoch 1/2", "rank 1 was killed by signal 9"]
    assert (record.cured, record.processes_left, record.is_solved, code) == (True, 0, True, 0)
    assert "A rank is killed (SIGKILL)" in printed.out
    assert "rank_killed   on the console   yes" in printed.out


def test_what_nobody_names_is_not_passed_off_as_named(caused):
    (record,), code, printed = caused(NOTHING)
    assert (record.named_by, record.is_solved, code) == (None, False, 1)
    assert "Nothing names it." in printed.out


def test_a_cure_that_says_the_same_cures_nothing(caused):
    (record,), code, _ = caused(Fault("disk_full", "echo no room", "echo no room", "no room"))
    assert (record.named_by, record.cured, code) == ("console", False, 1)


def test_what_is_left_behind_is_killed_and_counted(caused, tmp_path):
    """The process has left the command's group and its parent, as ranks do."""
    left = (
        f"setsid sh -c 'echo $$ > {tmp_path}/pid; exec sleep 60' & until [ -s {tmp_path}/pid ]; do :; done; echo full"
    )
    (record,), code, printed = caused(Fault("disk_full", left, "true", "full"))
    assert (record.processes_left, code) == (1, 1)
    assert "(1 processes left)" in printed.out
    stat = Path("/proc") / (tmp_path / "pid").read_text().strip() / "stat"
    assert not stat.exists() or ") Z " in stat.read_text()  # dead, whether or not anybody has noticed


def test_what_is_just_becoming_another_program_is_not_overlooked(monkeypatch):
    with subprocess.Popen(["sleep", "60"], env={MARK: "becoming"}) as process:
        usual, looks = Processes.all, []
        monkeypatch.setattr(Processes, "all", lambda self: usual(self) if looks else looks.append(1) or {})
        assert Processes("becoming").kill() == 1
        assert process.wait() == -signal.SIGKILL


def test_a_command_that_does_not_end_is_ended(caused):
    (record,), code, _ = caused(Fault("disk_full", "echo no room; sleep 60", "sleep 60", "no room", limit=1))
    assert (record.named_by, record.cured, code) == ("console", False, 1)
    assert record.seconds < 30


def test_ctrl_c_keeps_what_is_finished_and_says_how_to_go_on(caused):
    def interrupt(scratch):
        raise KeyboardInterrupt

    first = Fault("disk_full", "echo no room", "echo cured", "no room")
    records, code, printed = caused(first, Fault("rank_killed", "true", "true", "x", prepare=interrupt))
    assert ([record.fault for record in records], code) == (["disk_full"], 130)
    assert "To go on: python -m lessons.fault_lab rank_killed" in printed.err


def test_what_cannot_be_caused_here_is_shown_with_its_reason(caused, monkeypatch):
    monkeypatch.setattr(fault_lab, "missing", lambda fault: "two_gpus")
    (record,), code, printed = caused(NOTHING)
    assert (record.missing, record.command, code) == ("two_gpus", "echo something", 0)
    assert "needs two GPUs: left out" in printed.out


def test_an_unknown_name_is_one_line():
    done = subprocess.run(
        [sys.executable, "-m", "lessons.fault_lab", "no_such"], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "no_such" in done.stderr


def test_a_hostile_checkpoint_through_the_front_door(tmp_path):
    order = [sys.executable, "-m", "lessons.fault_lab", "hostile_checkpoint", "--results-dir", str(tmp_path)]
    done = subprocess.run(order, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = (tmp_path / "faults").glob("fault_hostile_checkpoint_*.json")
    record = json.loads(path.read_text())
    assert "loading it would run a program" in record["sentence"]
    assert record["cured"]
