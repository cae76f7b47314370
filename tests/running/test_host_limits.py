"""Limits of the host that end a run are named as what they are, with their cure, and without a traceback."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, SMALL, SQUEEZENET, environment, planted, records_in, run_script

from common.command_line.commands import check_interfaces
from common.errors import UsageError

SINGLE, DDP = "02_baseline_single_gpu.py", "04_ddp_training.py"
OF_PYTHON = re.compile(r'Traceback \(most recent call last\):\n  File "[^"]*/resource_sharer.py".*', re.DOTALL)
"""Python's thread that hands files to workers may meet the same limit, at the end, and prints what happened to it."""


def assert_named(done, tmp_path: Path, *said: str) -> None:
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in OF_PYTHON.sub("", done.stderr)
    (record,) = records_in(tmp_path / "results")
    for words in said:
        assert words in record["failure"]["advice"]
        assert words in done.stderr


def test_open_files(tmp_path):
    """In a new interpreter: how many files it may open decides whether this process or a worker runs into the limit."""
    arguments = [*SQUEEZENET, "--batch-size", 8, "--workers", 6, "--results-dir", tmp_path / "results"]
    shell = ["sh", "-c", 'ulimit -n 40; exec "$@"', "sh", sys.executable, SINGLE, *map(str, arguments)]
    done = subprocess.run(shell, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=100)
    assert_named(done, tmp_path, "ulimit -n", "--workers")


def test_processes(tmp_path):
    group = Path(f"/sys/fs/cgroup/pids/lab-test-{os.getpid()}")
    try:
        group.mkdir()
        (group / "pids.max").write_text("4")
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    try:
        script = planted(tmp_path, SINGLE, f"import os; open('{group}/cgroup.procs', 'w').write(str(os.getpid()))")
        done = run_script(script, *SMALL, "--batch-size", 8, "--workers", 6, "--results-dir", tmp_path / "results")
    finally:
        group.rmdir()
    assert_named(done, tmp_path, "pids.max", "--workers")


def test_a_network_interface_that_is_not_there(tmp_path):
    env = environment(GLOO_SOCKET_IFNAME="eth99")
    done = run_script(DDP, *SMALL, "--batch-size", 8, "--results-dir", tmp_path, ranks=2, env=env)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: GLOO_SOCKET_IFNAME=eth99 names no network interface")
    assert "lo" in line


@pytest.mark.parametrize(
    ("backend", "value", "is_there"),
    [
        ("gloo", "lo", True),
        ("gloo", "eth99,lo", True),
        ("gloo", "l", False),
        ("nccl", "l", True),
        ("nccl", "=l", False),
        ("nccl", "=lo", True),
        ("nccl", "^lo", True),
        ("nccl", "eth99,ib", False),
    ],
)
def test_interfaces_by_each_backends_rules(monkeypatch, backend, value, is_there):
    monkeypatch.setattr(socket, "if_nameindex", lambda: [(1, "lo"), (2, "enp3s0")])
    monkeypatch.setenv(f"{backend.upper()}_SOCKET_IFNAME", value)
    if is_there:
        check_interfaces(backend)
    else:
        with pytest.raises(UsageError, match="lo, enp3s0"):
            check_interfaces(backend)
