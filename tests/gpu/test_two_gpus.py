"""What only two CUDA GPUs can show."""

import re
import subprocess
import sys
from statistics import median
from time import monotonic, sleep

import pytest
import torch
from conftest import SQUEEZENET, TORCHRUN, planted, records_in, run_script
from gpu_runs import GPU, check_exchange_is_measured, run

from common.machine.devices import listed_devices
from common.records import REPLICATED_KINDS
from common.training.models import seed_devices

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA GPUs"),
]


def test_dataparallel_on_two_gpus_says_what_its_threads_cost(tmp_path):
    record = run("03_dataparallel_training.py", tmp_path, "--batch-size", 16, "--gpus", "0,1", "--anatomy-steps", 6)
    assert not record["world"]["shared"]
    assert record["parity"]["outcome"] == "passed"
    steps = record["anatomy"]["replicated_steps"]
    assert {kind: len(times) for kind, times in steps["seconds"].items()} == dict.fromkeys(REPLICATED_KINDS, 6)
    new, kept = (median(steps["seconds"][f"{threads}_threads_new_replicas"]) for threads in ("new", "kept"))
    assert new > kept


def test_ddp_over_nccl_on_two_gpus_parts_cleanly(tmp_path):
    record = run("04_ddp_training.py", tmp_path, "--batch-size", 8, ranks=2)
    assert (record["world"]["backend"], record["world"]["shared"]) == ("nccl", False)
    assert "NCCL" in record["backend_class"]
    assert record["parity"]["outcome"] == "passed"
    assert all(rank["busy_seconds"]["exchange"] for rank in record["anatomy"]["ranks"])
    check_exchange_is_measured(record)


@pytest.mark.parametrize("more", [[], ["--comm-hook", "fp16"], ["--comm-hook", "bf16"]])
def test_noise_in_biases_before_a_batch_norm_is_no_wrong_gradient(tmp_path, more):
    """No two computations of it are alike here: a sum over every pixel, of which rounding is all that is left."""
    arguments = ["--model", "vgg11_bn", "--image-size", 64, "--batch-size", 8, *more]
    assert run("04_ddp_training.py", tmp_path, *arguments, ranks=2)["parity"]["outcome"] == "passed"


def test_a_rank_that_fails_alone_over_nccl_ends_the_job_with_its_reason(tmp_path):
    code = """
import os
step = train_step
def failing(training, batches, *more):
    if more:
        return step(training, batches, *more)
    if os.environ["RANK"] == "1":
        raise ValueError("planted")
    return step(training, batches)
train_step = failing
"""
    script = planted(tmp_path, "04_ddp_training.py", code)
    arguments = [*SQUEEZENET, "--batch-size", 8, "--workers", 1, "--results-dir", tmp_path / "results"]
    process = run_script(script, *arguments, ranks=2, env=GPU, timeout=120)
    assert process.returncode == 1
    (record,) = records_in(tmp_path / "results")
    assert (record["failure"]["rank"], record["failure"]["message"]) == (1, "planted")


STOPS = "os.kill(os.getpid(), signal.SIGSTOP)"
LOOPS = "while True: pass"


@pytest.mark.parametrize(("act", "told"), [(STOPS, "is stopped"), (LOOPS, "does not come to the exchange")])
def test_a_hang_over_nccl_names_the_rank_and_leaves_nothing(tmp_path, act, told):
    code = f"""
import os, signal
usual, done = train_step, []
def planted(training, batches, *more):
    if more:
        return usual(training, batches, *more)
    done.append(1)
    if os.environ["RANK"] == "1" and len(done) == 6:
        {act}
    return usual(training, batches)
train_step = planted
"""
    script = planted(tmp_path, "04_ddp_training.py", code)
    arguments = [*SQUEEZENET, "--batch-size", 8, "--workers", 1, "--timeout", 10, "--results-dir", tmp_path / "results"]
    command = list(map(str, [*TORCHRUN, "--nproc_per_node=2", script, *arguments]))
    process = subprocess.run(command, env=GPU, capture_output=True, text=True, timeout=120)
    assert process.returncode == 1
    last = process.stderr.rstrip().splitlines()[-1]
    assert last.startswith(f"hang: rank 1 {told}"), process.stderr
    assert re.search(r"rank 0 waits for it in an exchange of nccl's since .*, at \S+\.py:\d+ in \w+$", last)
    (record,) = records_in(tmp_path / "results")
    assert (record["failure"]["kind"], record["failure"]["rank"], len(record["epochs"])) == ("hang", 1, 1)
    until = monotonic() + 20
    while monotonic() < until and str(tmp_path) in _processes():
        sleep(0.2)
    assert str(tmp_path) not in _processes()


def test_a_killed_rank_over_nccl_is_named(tmp_path):
    code = """
import os, signal
usual, done = train_step, []
def planted(training, batches, *more):
    if more:
        return usual(training, batches, *more)
    done.append(1)
    if os.environ["RANK"] == "1" and len(done) == 6:
        os.kill(os.getpid(), signal.SIGKILL)
    return usual(training, batches)
train_step = planted
"""
    script = planted(tmp_path, "04_ddp_training.py", code)
    arguments = [*SQUEEZENET, "--batch-size", 8, "--workers", 1, "--results-dir", tmp_path / "results"]
    command = list(map(str, [*TORCHRUN, "--nproc_per_node=2", script, *arguments]))
    process = subprocess.run(command, env=GPU, capture_output=True, text=True, timeout=120)
    assert process.returncode == 1
    assert process.stderr.rstrip().splitlines()[-1].startswith("failed: rank 1 was killed"), process.stderr
    (record,) = records_in(tmp_path / "results")
    assert (record["failure"]["kind"], record["failure"]["rank"]) == ("communication", 1)


def _processes() -> str:
    return subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout


def test_replicas_on_two_gpus_drop_different_units():
    torch.cuda.init()
    seed_devices(listed_devices("cuda", "0,1"), 0)
    drawn = [torch.rand(8, device=f"cuda:{index}").tolist() for index in (0, 1)]
    assert drawn[0] != drawn[1]


@pytest.mark.parametrize(
    "variables", [{"CUDA_VISIBLE_DEVICES": "1,0"}, {"NCCL_P2P_DISABLE": "1"}], ids=["other order", "no peer copies"]
)
@pytest.mark.parametrize(("script", "ranks"), [("03_dataparallel_training.py", 0), ("04_ddp_training.py", 2)])
def test_however_the_gpus_are_numbered_and_linked(tmp_path, script, ranks, variables):
    record = run(script, tmp_path, "--batch-size", 8, ranks=ranks, **variables)
    assert record["world"]["devices"] == 2
    assert record["parity"]["outcome"] == "passed"


def test_two_ranks_go_on_from_a_checkpoint_after_one_was_killed(tmp_path):
    """torchrun starts both anew."""
    code = """
import os, signal
step, count = train_step, [0]
def dying(training, batches, *more):
    if more:
        return step(training, batches, *more)
    count[0] += 1
    if (os.environ["RANK"], os.environ["TORCHELASTIC_RESTART_COUNT"], count[0]) == ("1", "0", 9):
        os.kill(os.getpid(), signal.SIGKILL)
    return step(training, batches)
train_step = dying
"""
    script = planted(tmp_path, "04_ddp_training.py", code)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "--max-restarts=1"]
    arguments = [*SQUEEZENET, "--batch-size", 4, "--workers", 1, "--checkpoint-dir", tmp_path / "c", "--resume", "auto"]
    command = [*torchrun, script, *arguments, "--results-dir", tmp_path / "results"]
    process = subprocess.run(list(map(str, command)), env=GPU, capture_output=True, text=True, timeout=200)
    assert process.returncode == 0, process.stderr
    record = records_in(tmp_path / "results")[-1]
    assert record["status"] == "completed"
    assert record["resumed"]["epoch"] == 2
