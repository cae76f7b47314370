"""Step 01 as a person runs it."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest
import torch
from conftest import environment, planted, run_script

from common.records import EnvironmentRecord
from common.requirements import check_requirements
from common.sentences import Sentences


def run(*arguments: object, **variables: str) -> subprocess.CompletedProcess:
    """Step 01 without its measurements, which take long and have their own tests (test_probes.py)."""
    return run_script("01_environment_check.py", "--no-benchmark", *arguments, env=environment(**variables))


def only_record(folder: Path) -> EnvironmentRecord:
    [path] = folder.iterdir()  # the record, and nothing half-written beside it
    record = EnvironmentRecord.model_validate_json(path.read_text())
    assert path.name == f"{record.run_id}.json"
    return record


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    """One run, looked at by several tests: its output and its folder."""
    folder = tmp_path_factory.mktemp("checked") / "new folder"
    return run("--results-dir", folder), folder


def test_it_says_that_the_lab_can_run_and_on_what(checked):
    process, _ = checked
    cores = len(os.sched_getaffinity(0))
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    assert f"The lab can run here, on {cores} CPU core" in process.stdout
    assert "will stand in as devices" in process.stdout
    assert "You do not learn how fast GPUs are" in " ".join(process.stdout.split())


def test_it_shows_the_machine_and_every_verdict(checked):
    process, folder = checked
    record = only_record(folder)
    for shown in (torch.__version__, record.environment.cpu_model, "gloo", "shared memory of 1 GiB"):
        assert shown in process.stdout
    for requirement in record.requirements:
        [line] = [line for line in process.stdout.splitlines() if line.split()[:1] == [requirement.outcome]
                  and requirement.name in line]  # fmt: skip
        assert requirement.found in line


def test_advice_is_shown_for_what_is_not_ok(checked):
    process, folder = checked
    shown = " ".join(process.stdout.split())
    for requirement in only_record(folder).requirements:
        assert requirement.outcome == "ok" or " ".join(requirement.advice.split()) in shown


def test_the_record_holds_what_was_found(checked):
    process, folder = checked
    record = only_record(folder)
    assert record.run_id.startswith("01_environment-")
    assert str(folder / record.run_id) in process.stdout
    assert record.environment.torch == torch.__version__
    assert record.environment.gpus == []
    assert "gloo" in record.backends
    assert record.torchvision_error is None
    assert record.requirements == check_requirements(record, Sentences("en"))
    assert record.command.startswith("python 01_environment_check.py --no-benchmark --results-dir ")
    assert record.probes is None


def test_it_leads_to_the_next_step_with_the_same_folder(checked):
    process, folder = checked
    assert f"next: python 02_baseline_single_gpu.py --results-dir '{folder}'" in process.stdout


def test_a_second_quiet_run_says_nothing_and_leaves_the_first_record_alone(checked, tmp_path):
    [first] = checked[1].iterdir()
    kept = tmp_path / first.name
    kept.write_bytes(first.read_bytes())
    process = run("--results-dir", tmp_path, "--quiet")
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "")
    assert len(list(tmp_path.iterdir())) == 2
    assert kept.read_bytes() == first.read_bytes()


def test_a_taken_port_is_recorded_and_no_failure(tmp_path):
    try:
        server = socket.create_server(("127.0.0.1", 29500))
    except OSError:
        server = socket.socket()  # taken by somebody else, which is as good
    with server:
        process = run("--results-dir", tmp_path)
    assert process.returncode == 0
    assert only_record(tmp_path).rendezvous_port_free is False


# The script server has imported torchvision already.
BROKEN_TORCHVISION = """
from common.machine import libraries
libraries.import_torchvision.cache_clear()
for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
    del sys.modules[name]
"""


@pytest.mark.parametrize("flags", [(), ("--quiet",)])
def test_something_broken_ends_with_1_and_says_what_to_do(tmp_path, flags):
    (tmp_path / "torchvision").mkdir()  # beside the script, and so the first that is found
    (tmp_path / "torchvision" / "__init__.py").write_text("raise ImportError('no libjpeg')")
    (tmp_path / "torchvision" / "version.py").write_text("__version__ = '0.28.0'")
    script = planted(tmp_path, "01_environment_check.py", BROKEN_TORCHVISION)
    process = run_script(script, "--no-benchmark", "--results-dir", tmp_path / "results", *flags)
    assert process.returncode == 1
    told = process.stderr if flags else process.stdout
    assert "no libjpeg" in told
    assert "pip install -e ." in " ".join(told.split())
    assert only_record(tmp_path / "results").torchvision_error == "no libjpeg"


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    process = run("--results-dir", tmp_path / "file" / "results")
    assert process.returncode == 2
    assert process.stdout == ""
    [line] = process.stderr.splitlines()
    assert line.startswith("error: ")
    assert "--results-dir" in line


def test_a_temporary_folder_with_too_long_a_name_is_one_line(tmp_path):
    folder = tmp_path / ("long" * 25)
    folder.mkdir()
    process = run_script(
        "01_environment_check.py", "--results-dir", tmp_path / "results", env=environment(TMPDIR=str(folder))
    )
    assert process.returncode == 2
    assert process.stderr.startswith("error: cannot start processes from ")
    assert process.stderr.endswith("set TMPDIR to a short path, such as /tmp\n")
    assert process.stderr.count("\n") == 1


def test_an_unknown_flag_is_one_line():
    process = run("--no-such-flag")
    assert process.returncode == 2
    assert len(process.stderr.splitlines()) == 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_on_a_gpu_host_each_gpu_has_its_line(tmp_path):
    process = run_script("01_environment_check.py", "--no-benchmark", "--results-dir", tmp_path, env=dict(os.environ))
    record = only_record(tmp_path)
    assert len(record.environment.gpus) == torch.cuda.device_count()
    assert record.environment.driver in process.stdout
    assert all(gpu.name in process.stdout and gpu.uuid for gpu in record.environment.gpus)
