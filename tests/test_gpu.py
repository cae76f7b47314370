"""What only a CUDA GPU can show. One GPU is enough: replicas and ranks then share it, and the records say so."""

import pytest
import torch
from conftest import SMALL, environment, records_in, run_script

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU"),
]
GPU = {name: value for name, value in environment().items() if name != "CUDA_VISIBLE_DEVICES"}


def run(script, tmp_path, *arguments, ranks=0):
    quick = ["--anatomy-steps", 2, "--workers", 1]
    process = run_script(script, *SMALL, *quick, *arguments, "--results-dir", tmp_path, ranks=ranks, env=GPU)
    assert process.returncode == 0, process.stderr
    return records_in(tmp_path)[-1]


def test_single(tmp_path):
    record = run("02_baseline_single_gpu.py", tmp_path, "--batch-size", 8)
    memory = record["devices"][0]["memory"]
    assert record["world"]["device_kind"] == "cuda"
    assert record["config"]["loader_workers"] > 0
    assert record["static_memory"]["parameter_bytes"] < memory["peak_allocated_bytes"] <= memory["peak_reserved_bytes"]
    rank = record["ranks"][0]
    assert sum(rank["step_seconds"]) == pytest.approx(sum(rank["host_epoch_seconds"]), rel=0.05)


def test_dataparallel_twice_on_one_gpu_is_shared_and_exact(tmp_path):
    record = run("03_dataparallel_training.py", tmp_path, "--batch-size", 16, "--gpus", "0,0")
    assert record["world"]["shared"]
    assert not record["world"]["emulated"]
    assert record["parity"]["outcome"] == "passed"
    (rank,) = record["anatomy"]["ranks"]
    assert {"scatter", "replicate", "gather", "reduce"} < set(rank["phases"])
    assert [len(replica) for replica in rank["replica_seconds"]] == [2, 2]
    assert sum(map(sum, rank["phases"].values())) == pytest.approx(sum(rank["step_seconds"]), rel=0.05)


def test_dataparallel_on_one_gpu(tmp_path):
    assert not run("03_dataparallel_training.py", tmp_path, "--batch-size", 8, "--gpus", "0")["world"]["shared"]


def test_ddp_one_rank_over_nccl(tmp_path):
    record = run("04_ddp_training.py", tmp_path, "--batch-size", 8, ranks=1)
    assert record["world"]["backend"] == "nccl"
    assert record["parity"]["outcome"] == "passed"


def test_more_ranks_than_gpus_share_them_over_gloo(tmp_path):
    ranks = torch.cuda.device_count() + 1
    record = run("04_ddp_training.py", tmp_path, "--batch-size", 8, ranks=ranks)
    assert (record["world"]["backend"], record["world"]["shared"]) == ("gloo", True)
    assert record["parity"]["outcome"] == "passed"


@pytest.mark.parametrize("precision", ["ieee-fp32", "tf32", "bf16", "fp16"])
def test_precisions_train(tmp_path, precision):
    if precision in ("tf32", "bf16") and torch.cuda.get_device_capability()[0] < 8:
        pytest.skip(f"this GPU has no {precision}")
    record = run("02_baseline_single_gpu.py", tmp_path, "--batch-size", 16, "--precision", precision)
    assert record["config"]["precision"] == precision
    assert record["epochs"][1]["mean_loss"] < 6.5  # untrained: ln 1000, nearly 7


def test_missing_gpu_is_refused(tmp_path):
    process = run_script("03_dataparallel_training.py", "--gpus", "0,99", "--results-dir", tmp_path, env=GPU)
    assert process.returncode == 2
    assert "GPU 0 to" in process.stderr


def test_out_of_gpu_memory_leaves_a_record(tmp_path):
    arguments = ["--image-size", 224, "--batch-size", 8192, "--samples-per-epoch", 8192, "--results-dir", tmp_path]
    process = run_script("02_baseline_single_gpu.py", *arguments, env=GPU)
    assert process.returncode == 1
    assert records_in(tmp_path)[0]["failure"]["kind"] == "out_of_memory"
