"""Signals and full disks at the worst moment: what was measured is kept, and the cause is named."""

import os

import pytest
import torch
from conftest import SMALL, environment, planted, records_in, run_script

SINGLE = "02_baseline_single_gpu.py"
# Runs of a signal or an error at one moment; the run itself is the usual one.
MOMENTS = """
import os, signal
def first(module, name, act):
    usual, done = getattr(module, name), []
    def planted(*arguments, **more):
        if not done:
            done.append(1)
            act()
        return usual(*arguments, **more)
    setattr(module, name, planted)
def send(number):
    return lambda: os.kill(os.getpid(), number)
def run_out_of_memory():
    raise MemoryError
"""


def run(tmp_path, moment, *more, **env):
    script = planted(tmp_path, SINGLE, MOMENTS + moment)
    arguments = [*SMALL, "--batch-size", 32, "--results-dir", tmp_path / "results", *more]
    return run_script(script, *arguments, env=environment(**env))


def test_ctrl_c_in_a_checkpoint_lets_it_end_and_is_called_an_interruption(tmp_path):
    moment = "import torch; first(torch, 'save', send(signal.SIGINT))"
    process = run(tmp_path, moment, "--checkpoint-dir", tmp_path / "checkpoints")
    assert process.returncode == 130, process.stderr
    (record,) = records_in(tmp_path / "results")
    assert (record["status"], record["failure"]["message"]) == ("interrupted", "stopped from the keyboard (Ctrl-C)")
    (written,) = (tmp_path / "checkpoints").iterdir()
    assert torch.load(written, weights_only=True)["epoch"] == 2
    assert "Traceback" not in process.stderr


@pytest.mark.parametrize("place", ["training.TrainedEpoch, 'log'", "experiments, 'measure_forward_threads'"])
def test_ctrl_c_that_other_code_swallows_ends_the_run_all_the_same(tmp_path, place):
    moment = f"""
from common.examining import experiments
from common.training import training
def lost():
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt:
        pass
first({place}, lost)
"""
    process = run(tmp_path, moment, "--anatomy-steps", 1)
    assert process.returncode == 130, process.stderr
    (record,) = records_in(tmp_path / "results")
    assert (record["status"], record["failure"]["message"]) == ("interrupted", "stopped from the keyboard (Ctrl-C)")


def test_ctrl_c_that_other_code_turns_into_an_error_of_its_own_is_told_as_what_it_was(tmp_path):
    moment = """
from common.training import training
def turned():
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt:
        raise RuntimeError("planted: connection closed by peer") from None
first(training.TrainedEpoch, 'log', turned)
"""
    process = run(tmp_path, moment)
    assert process.returncode == 130, process.stderr
    (record,) = records_in(tmp_path / "results")
    assert (record["status"], record["failure"]["message"]) == ("interrupted", "stopped from the keyboard (Ctrl-C)")


def test_ctrl_c_in_a_model_of_the_users_own_is_no_error_of_that_model(tmp_path):
    model = tmp_path / "my_model.py"
    model.write_text("""
import os, signal, torch
from torch import nn
from common.workload import Workload
class Net(nn.Linear):
    def forward(self, x):
        if "ARMED" in os.environ:
            os.kill(os.getpid(), signal.SIGINT)
        return super().forward(x)
def build():
    return Workload(model=Net(8, 3), sample=lambda seed, index: (torch.ones(8), torch.tensor(index % 3)))
""")
    moment = "from common.training import training; first(training.TrainedEpoch, 'log', arm)"
    code = MOMENTS + "arm = lambda: os.environ.update(ARMED='1')\n" + moment
    flags = ["--model", f"{model}:build", "--batch-size", 8, "--samples-per-epoch", 32, "--anatomy-steps", 0]
    process = run_script(planted(tmp_path, SINGLE, code), *flags, "--results-dir", tmp_path / "results")
    assert process.returncode == 130, process.stderr
    assert "error:" not in process.stderr
    (record,) = records_in(tmp_path / "results")
    assert record["status"] == "interrupted"


def test_a_closed_terminal_leaves_a_record(tmp_path):
    process = run(
        tmp_path, "from common.training import training; first(training.TrainedEpoch, 'log', send(signal.SIGHUP))"
    )
    assert process.returncode == 130
    (record,) = records_in(tmp_path / "results")
    assert record["status"] == "interrupted"
    assert "SIGHUP" in record["failure"]["message"]


def test_a_killed_run_leaves_the_epochs_that_had_ended(tmp_path):
    code = """
usual, steps = train_step, []
def dying(training, batches, *more):
    if more:
        return usual(training, batches, *more)
    steps.append(1)
    if len(steps) == 4:  # two steps make an epoch
        os.kill(os.getpid(), signal.SIGKILL)
    return usual(training, batches)
train_step = dying
"""
    assert run(tmp_path, code).returncode != 0
    (record,) = records_in(tmp_path / "results")
    assert (record["status"], record["failure"]["kind"], len(record["epochs"])) == ("interrupted", "unfinished", 1)
    assert len(record["ranks"][0]["step_seconds"]) == 2
    assert [path.name for path in (tmp_path / "results").iterdir()] == [f"{record['run_id']}.json"]


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
def test_a_signal_during_the_last_write_does_not_take_the_record(tmp_path, number):
    process = run(
        tmp_path, f"from common.running import recording; first(recording, 'write_record', send(signal.{number}))"
    )
    assert process.returncode == 0, process.stderr
    assert [record["status"] for record in records_in(tmp_path / "results")] == ["completed"]


def test_a_worker_that_dies_during_the_last_write_does_not_take_the_record(tmp_path):
    moment = """
import multiprocessing, time
from common.running import recording
def kill_workers():
    workers = multiprocessing.active_children()
    assert workers
    for worker in workers:
        os.kill(worker.pid, signal.SIGKILL)
    time.sleep(0.5)
first(recording, 'write_record', kill_workers)
"""
    process = run(tmp_path, moment, "--workers", 1)
    assert process.returncode == 0, process.stderr
    assert [record["status"] for record in records_in(tmp_path / "results")] == ["completed"]


def test_a_full_disk_costs_the_checkpoint_and_not_the_run(full_disk, tmp_path):
    process = run(tmp_path, "", "--checkpoint-dir", full_disk)
    assert process.returncode == 0, process.stderr
    assert process.stdout.count("checkpoint not written: No space left on device") == 2
    assert os.listdir(full_disk) == []
    assert [record["status"] for record in records_in(tmp_path / "results")] == ["completed"]
    silent = run(tmp_path, "", "--checkpoint-dir", full_disk, "--quiet")
    assert (silent.returncode, silent.stdout) == (0, "")
    assert silent.stderr.count("checkpoint not written: No space left on device") == 2


def test_a_full_disk_costs_the_log_and_not_the_run(full_disk, tmp_path):
    process = run(tmp_path, "", "--tensorboard", full_disk, "--batch-size", 4, "--epochs", 4)
    assert process.returncode == 0, process.stderr
    assert "TensorBoard's log is not written any more (No space left on device)" in process.stderr
    assert "Traceback" not in process.stderr


def test_a_full_disk_does_not_hide_what_came_before(full_disk, short_folder, tmp_path):
    (full_disk / "filler").write_bytes(b"x" * 4096)
    moment = "from common.training import training; first(training.TrainedEpoch, 'log', run_out_of_memory)"
    process = run(tmp_path, moment, "--results-dir", full_disk, TMPDIR=str(short_folder))
    assert process.returncode == 1
    assert "failed: MemoryError" in process.stderr
    assert "No space left on device): saved as" in process.stderr
    (spare,) = short_folder.glob("lab-record-*")
    assert [record["failure"]["kind"] for record in records_in(spare)] == ["out_of_memory"]
