"""A host that cannot find itself: in a network of its own, under a name that no service knows. Needs root."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time

import pytest
from conftest import ROOT, environment, planted, records_in, run_script

from common.command_line import own_host
from common.command_line.own_host import startable

ALONE = ["unshare", "--net", "--uts", "sh", "-c"]
MOVES_THERE = """
import ctypes, socket, subprocess
assert ctypes.CDLL(None).unshare(0x40000000 | 0x04000000) == 0  # CLONE_NEWNET, CLONE_NEWUTS
socket.sethostname("nosuch")
"""
LOOPBACK_UP = "subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)"
COMMAND = "torchrun --standalone --nproc_per_node=2 04_ddp_training.py --batch-size 8"


def skip_where_there_are_no_namespaces() -> None:
    if os.geteuid() or not shutil.which("ip") or subprocess.run([*ALONE, "true"], capture_output=True).returncode:
        pytest.skip("needs root, iproute2 and a kernel that lets namespaces be made")


def alone(code: list[str], loopback: bool = True, timeout: int = 100) -> subprocess.CompletedProcess:
    """Run Python there."""
    skip_where_there_are_no_namespaces()
    up = "ip link set lo up; " if loopback else ""
    command = [*ALONE, f'{up}hostname nosuch; exec "$@"', "sh", sys.executable, *code]
    return subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=timeout)


def test_this_host_finds_itself_and_its_commands_stay_as_published():
    own_host.name_is_found.cache_clear()
    assert own_host.name_is_found()
    assert own_host.loopback_is_up()
    assert startable(COMMAND) == COMMAND


@pytest.mark.parametrize(("loopback", "said"), [(True, "False True"), (False, "False False")])
def test_a_host_without_a_name_or_without_a_loopback_is_noticed_within_two_seconds(loopback, said):
    code = "from common.command_line.own_host import *; print(name_is_found(), loopback_is_up())"
    before = time.monotonic()
    assert alone(["-c", code], loopback).stdout.strip() == said
    assert time.monotonic() - before < 4  # Python's own start, on a busy machine, is in it


def test_a_name_service_that_does_not_answer_is_not_waited_for(monkeypatch):
    own_host.name_is_found.cache_clear()
    monkeypatch.setattr(own_host.socket, "getaddrinfo", lambda *_: time.sleep(3) or [])
    before = time.monotonic()
    assert not own_host.name_is_found()
    assert time.monotonic() - before < 2
    assert startable(COMMAND) == COMMAND.replace("--standalone", "--standalone --local-addr=127.0.0.1")
    assert startable(startable(COMMAND)) == startable(COMMAND)
    assert startable("python 02_baseline_single_gpu.py") == "python 02_baseline_single_gpu.py"
    own_host.name_is_found.cache_clear()


def test_a_name_that_leads_to_another_host_does_not_count(monkeypatch):
    own_host.name_is_found.cache_clear()
    elsewhere = [(own_host.socket.AF_INET, 1, 6, "", ("192.0.2.1", 0))]
    monkeypatch.setattr(own_host.socket, "getaddrinfo", lambda *_: elsewhere)
    assert not own_host.name_is_found()
    own_host.name_is_found.cache_clear()


def test_a_campaign_starts_its_ranks_there(tmp_path):
    """With torchrun's own choice of an address they do not begin for minutes."""
    (tmp_path / "04_meet.py").write_text("import os; print('met at', os.environ['MASTER_ADDR'])")
    command = f"torchrun --standalone --nproc_per_node=2 {tmp_path / '04_meet.py'}"
    done = alone(["-c", f"from common.campaigns.launcher import Launcher; Launcher().run({command!r})"])
    assert done.stdout.splitlines() == ["met at 127.0.0.1"] * 2, done.stderr


def test_step_01_says_it(tmp_path):
    skip_where_there_are_no_namespaces()
    for loopback, code, said in ((True, 0, "--local-addr=127.0.0.1"), (False, 1, "ip link set lo up")):
        folder = tmp_path / str(code)
        script = planted(tmp_path, "01_environment_check.py", MOVES_THERE + (LOOPBACK_UP if loopback else ""))
        done = run_script(script, "--no-benchmark", "--results-dir", folder)
        assert done.returncode == code, done.stderr
        assert said in " ".join(done.stdout.split())
        (record,) = records_in(folder)
        assert (record["own_name_found"], record["loopback_up"]) == (False, loopback)
