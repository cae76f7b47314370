"""A host that cannot find itself (in a network of its own, under a name that no service knows: needs root), and
variables that nobody passed as a flag: recorded, kept apart, and named before they spoil a run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time

import pytest
from conftest import ROOT, SMALL, environment, planted, records_in, run_script

from common.command_line import commands
from common.command_line.commands import (
    BINDS,
    MAY_END,
    SLOWS,
    slowing_variables,
    startable,
    steering_variables,
)

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
    commands.name_is_found.cache_clear()
    assert commands.name_is_found()
    assert commands.loopback_is_up()
    assert startable(COMMAND) == COMMAND


@pytest.mark.parametrize(("loopback", "said"), [(True, "False True"), (False, "False False")])
def test_a_host_without_a_name_or_without_a_loopback_is_noticed_within_two_seconds(loopback, said):
    code = "from common.command_line.commands import *; print(name_is_found(), loopback_is_up())"
    before = time.monotonic()
    assert alone(["-c", code], loopback).stdout.strip() == said
    assert time.monotonic() - before < 4  # Python's own start, on a busy machine, is in it


def test_a_name_service_that_does_not_answer_is_not_waited_for(monkeypatch):
    commands.name_is_found.cache_clear()
    monkeypatch.setattr(commands.socket, "getaddrinfo", lambda *_: time.sleep(3) or [])
    before = time.monotonic()
    assert not commands.name_is_found()
    assert time.monotonic() - before < 2
    assert startable(COMMAND) == COMMAND.replace("--standalone", "--standalone --local-addr=127.0.0.1")
    assert startable(startable(COMMAND)) == startable(COMMAND)
    assert startable("python 02_baseline_single_gpu.py") == "python 02_baseline_single_gpu.py"
    commands.name_is_found.cache_clear()


def test_a_name_that_leads_to_another_host_does_not_count(monkeypatch):
    commands.name_is_found.cache_clear()
    elsewhere = [(commands.socket.AF_INET, 1, 6, "", ("192.0.2.1", 0))]
    monkeypatch.setattr(commands.socket, "getaddrinfo", lambda *_: elsewhere)
    assert not commands.name_is_found()
    commands.name_is_found.cache_clear()


def test_a_campaign_starts_its_ranks_there(tmp_path):
    """With torchrun's own choice of an address they do not begin for minutes."""
    # In one piece: two ranks write at once.
    (tmp_path / "04_meet.py").write_text("import os; os.write(1, f\"met at {os.environ['MASTER_ADDR']}\\n\".encode())")
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


def test_those_that_change_speed_are_recorded_and_no_others():
    of_torchrun = {"OMP_NUM_THREADS": "1", "TORCH_NCCL_ASYNC_ERROR_HANDLING": "1"}
    of_the_lab = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
    others = {"HOME": "/root", "TORCHINDUCTOR_CACHE_DIR": "/tmp/x", "TORCHELASTIC_RUN_ID": "1", "NCCL_DEBUG": "INFO"}
    assert steering_variables(of_torchrun | of_the_lab | others) == ""
    known = {"KMP_BLOCKTIME": "0", "ATEN_CPU_CAPABILITY": "default", "PYTORCH_ALLOC_CONF": "expandable_segments:True",
             "ONEDNN_MAX_CPU_ISA": "SSE41", "CUDA_LAUNCH_BLOCKING": "1", "NVIDIA_TF32_OVERRIDE": "0"}  # fmt: skip
    assert steering_variables(known | others) == " ".join(f"{name}={known[name]}" for name in sorted(known))


@pytest.mark.parametrize(
    ("set_to", "in_ranks", "said"),
    [
        ({"CUDA_LAUNCH_BLOCKING": "1"}, False, [SLOWS]),
        ({"CUDA_LAUNCH_BLOCKING": "0"}, False, []),
        ({"TORCH_DISTRIBUTED_DEBUG": "INFO"}, True, [SLOWS]),
        ({"TORCH_DISTRIBUTED_DEBUG": "detail"}, True, [MAY_END]),
        ({"TORCH_DISTRIBUTED_DEBUG": "DETAIL"}, False, []),
        ({"TORCH_DISTRIBUTED_DEBUG": "OFF"}, True, []),
        ({"TORCH_DISTRIBUTED_DEBUG": "0"}, True, [SLOWS]),  # torch ends by it, after this
        ({"TORCH_DISTRIBUTED_DEBUG": ""}, True, [SLOWS]),
        ({"OMP_PROC_BIND": "close"}, True, [BINDS]),
        ({"OMP_PROC_BIND": "false"}, True, []),
        ({"OMP_PROC_BIND": "close"}, False, []),
    ],
)
def test_those_that_spoil_what_is_measured_are_told_apart(set_to, in_ranks, said):
    assert [text for text, _ in slowing_variables(in_ranks, set_to)] == said


def test_a_run_names_them_at_its_start_and_in_its_record(tmp_path):
    where = ["--results-dir", tmp_path, "--batch-size", 8]
    slow = environment(TORCH_DISTRIBUTED_DEBUG="INFO", PYTORCH_NO_CUDA_MEMORY_CACHING="1")
    done = run_script("04_ddp_training.py", *SMALL, *where, ranks=2, env=slow)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("TORCH_DISTRIBUTED_DEBUG=INFO is set") == 1
    assert done.stderr.count("unset PYTORCH_NO_CUDA_MEMORY_CACHING") == 1
    (record,) = records_in(tmp_path)
    both = "PYTORCH_NO_CUDA_MEMORY_CACHING=1 TORCH_DISTRIBUTED_DEBUG=INFO"
    assert both in record["environment"]["variables"]


def test_there_is_a_line_before_torch_ends_with_a_signal(tmp_path):
    env = environment(TORCH_DISTRIBUTED_DEBUG="DETAIL")
    done = run_script("04_ddp_training.py", *SMALL, "--results-dir", tmp_path, "--batch-size", 8, ranks=2, env=env)
    assert "TORCH_DISTRIBUTED_DEBUG=DETAIL is set" in done.stderr.splitlines()[0]
    assert "SIGSEGV" in done.stderr.splitlines()[0]
