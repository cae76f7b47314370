"""Ctrl-Z and `fg` at a terminal, Ctrl-\\, and a campaign that is killed: step and ranks share its fate."""

import os
import pty
import signal
import subprocess
import sys
import time

import pytest

# Step 04 starts a process in a session of its own, as torchrun does a rank.
WAITS = """
if step in ("02", "04"):
    import subprocess
    rank = subprocess.Popen(["sleep", "60"], start_new_session=True)
    def end(number, frame):
        rank.kill()
        Path("ended").write_text(signal.Signals(number).name)
        sys.exit(1)
    signal.signal(signal.SIGTERM, end)
    Path("pids").write_text(f"{os.getpid()} {rank.pid}")
    rank.wait()
    sys.exit(1)
"""
# A shell with job control, as far as these tests need one: the campaign is a job in a group of its own.
JOB = "import os, sys; os.setpgid(0, 0); os.execv(sys.executable, [sys.executable, '-m', 'common.campaigns', 'lab'])"


@pytest.fixture
def job(fake_lab):
    """The campaign in the foreground of a terminal: its process, and the terminal's other end."""
    fake_lab.plant(WAITS)
    ours, theirs = pty.openpty()

    def take_terminal():
        os.setsid()
        os.close(os.open(os.ttyname(theirs), os.O_RDWR))
        for name in (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP):
            signal.signal(name, signal.SIG_DFL)

    # The shell: it leads the session, so that the campaign's group is no orphan, and gives it the terminal.
    shell = (
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGTTOU, signal.SIG_IGN)\n"
        "pid = os.fork()\n"
        f"if pid == 0:\n    signal.signal(signal.SIGTTOU, signal.SIG_DFL)\n    {JOB}\n"
        # As shells do: whichever comes first; refused where the child has made its group and gone on to its program.
        "try:\n    os.setpgid(pid, pid)\nexcept PermissionError:\n    pass\n"
        "os.tcsetpgrp(0, pid)\n"
        "open('campaign', 'w').write(str(pid))\n"
        "os.waitpid(pid, 0)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", shell], cwd=fake_lab.folder, env=fake_lab.variables(), stdin=theirs,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=take_terminal,
    )  # fmt: skip
    _until(lambda: [len(_pids(fake_lab, name)) for name in ("pids", "campaign")] == [2, 1])
    yield _pids(fake_lab, "campaign")[0], ours
    for pid in [*_pids(fake_lab, "campaign"), *_pids(fake_lab, "pids")]:
        if _state(pid) != "gone":
            os.kill(pid, signal.SIGKILL)
    process.wait(timeout=20)
    os.close(ours)
    os.close(theirs)


def _pids(lab, name: str) -> list[int]:
    path = lab.folder / name
    return [int(word) for word in path.read_text().split()] if path.exists() else []


def _state(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            state = stat.read().rpartition(")")[2].split()[0]
    except OSError:
        return "gone"
    return {"T": "stopped", "Z": "gone"}.get(state, "runs")


def _until(condition) -> None:
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_ctrl_z_stops_the_campaign_its_step_and_the_ranks_and_fg_continues_them(fake_lab, job):
    campaign, terminal = job
    all_three = [campaign, *_pids(fake_lab, "pids")]
    for _ in range(2):
        os.write(terminal, b"\x1a")
        _until(lambda: [_state(pid) for pid in all_three] == ["stopped"] * 3)
        os.killpg(campaign, signal.SIGCONT)  # as the shell's fg does
        _until(lambda: [_state(pid) for pid in all_three] == ["runs"] * 3)


@pytest.mark.parametrize("how", ["ctrl-\\", "SIGKILL"])
def test_a_campaign_that_dies_takes_its_step_along(fake_lab, job, how):
    campaign, terminal = job
    if how == "SIGKILL":
        os.kill(campaign, signal.SIGKILL)
    else:
        os.write(terminal, b"\x1c")
    _until(lambda: all(_state(pid) == "gone" for pid in [campaign, *_pids(fake_lab, "pids")]))
    assert (fake_lab.folder / "ended").read_text() == "SIGTERM"  # so that a real step leaves its record


def test_a_stopped_campaign_that_is_killed_takes_its_step_along(fake_lab, job):
    campaign, terminal = job
    step = _pids(fake_lab, "pids")[0]
    os.write(terminal, b"\x1a")
    # The kernel continues what stands still when its parent dies: one that has yet to stop would stop for ever.
    _until(lambda: [_state(pid) for pid in (campaign, step)] == ["stopped"] * 2)
    os.kill(campaign, signal.SIGKILL)
    _until(lambda: _state(step) == "gone")
