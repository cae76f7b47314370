"""Ctrl-C and other signals: the step gets them, once; nothing stays behind."""

import os
import shlex
import signal
import subprocess
import sys
import time

import pytest

from campaigns.conftest import ROOT
from common.command_line.machine_queue import taking_turns
from common.setup.environments import STAMP

# A step that waits to be stopped, and counts how often it is.
WAITS = """
if step == '03':
    got = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: got.append(signal.Signals(number).name))
    Path('waiting').write_text(str(os.getpid()))
    while not got and Path('waiting').exists():
        time.sleep(0.02)
    time.sleep(0.3)
    Path('got').write_text(' '.join(got))
    sys.exit(130)
"""


@pytest.fixture(autouse=True)
def no_step_stays(fake_lab):
    """A test that fails leaves a waiting step, which then ends by itself, and its campaign with it."""
    yield
    (fake_lab.folder / "waiting").unlink(missing_ok=True)


def _wait_for(file) -> None:
    for _ in range(3000):
        if file.exists() and file.read_text():
            return
        time.sleep(0.02)
    raise AssertionError(f"{file} did not come")


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("whole_group", [True, False])
def test_a_signal_ends_step_and_campaign(fake_lab, number, whole_group):
    fake_lab.plant(WAITS)
    process = fake_lab.start("lab", start_new_session=True)
    _wait_for(fake_lab.folder / "waiting")
    (os.killpg if whole_group else os.kill)(process.pid, number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert (fake_lab.folder / "got").read_text() == number.name
    assert not _is_alive(int((fake_lab.folder / "waiting").read_text()))
    assert (fake_lab.steps[-1], fake_lab.steps.count("05")) == ("03", 0)  # in the first round
    name = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"
    assert f"stopped by {name} at step 03: python 03_" in errors
    assert "0 of 3 rounds are finished" in errors
    assert errors.endswith("To go on: make lab\n")


def test_a_step_that_ends_well_all_the_same_is_the_last_one(fake_lab):
    fake_lab.plant(WAITS.replace("sys.exit(130)", "sys.exit(0)"))
    process = fake_lab.start("lab", start_new_session=True)
    _wait_for(fake_lab.folder / "waiting")
    os.kill(process.pid, signal.SIGINT)
    process.communicate(timeout=60)
    assert (process.returncode, fake_lab.steps[-1]) == (130, "03")


@pytest.mark.parametrize("command", ["make lab", "make lab; echo and on"])
def test_ctrl_c_under_make_and_bash(fake_lab, command):
    fake_lab.plant(WAITS)
    (fake_lab.folder / "pyproject.toml").touch()
    python = fake_lab.folder / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (fake_lab.folder / ".venv" / STAMP).touch()  # all is set up
    make = f"make -f {shlex.quote(str(ROOT / 'Makefile'))}"
    process = subprocess.Popen(
        ["bash", "-c", command.replace("make", make)],
        cwd=fake_lab.folder,
        env=fake_lab.variables(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    _wait_for(fake_lab.folder / "waiting")
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to bash, make and the runner
    output, errors = process.communicate(timeout=60)
    assert process.returncode in (130, -signal.SIGINT)
    assert "and on" not in output
    assert (fake_lab.folder / "got").read_text() == "SIGINT"
    assert "stopped by Ctrl-C at step 03" in errors
    assert not _is_alive(int((fake_lab.folder / "waiting").read_text()))


def test_a_campaign_waits_for_its_turn_and_then_runs(fake_lab):
    folder, said = fake_lab.folder / "queue", []
    with taking_turns("make sweep", str(folder), said.append):
        process = fake_lab.start("lab", "--repeats", "1", "--queue", str(folder))
        waiting = process.stdout.readline()
        assert (said, fake_lab.log) == ([], [])
    output, _ = process.communicate(timeout=60)
    assert " runs make sweep since " in waiting
    assert waiting.endswith("; then it is your turn (QUEUE=no does not wait).\n")
    assert output.startswith("Your turn, after ")
    assert (process.returncode, fake_lab.steps[-1]) == (0, "05")
    assert list(folder.iterdir()) == []
