"""The methods on CUDA GPUs. One is enough: replicas and ranks then share it, and the records say so."""

from statistics import median

import pytest
import torch
from conftest import run_script
from factories import make_config, make_model
from gpu_runs import GPU, check_exchange_is_measured, run

from common.machine.devices import one_device

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU"),
]


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
    assert sum(map(sum, rank["phases"].values())) == pytest.approx(sum(rank["step_seconds"]), abs=1e-4)


def test_dataparallel_on_one_gpu(tmp_path):
    assert not run("03_dataparallel_training.py", tmp_path, "--batch-size", 8, "--gpus", "0")["world"]["shared"]


def test_ddp_one_rank_over_nccl(tmp_path):
    record = run("04_ddp_training.py", tmp_path, "--batch-size", 8, ranks=1)
    assert record["world"]["backend"] == "nccl"
    assert record["parity"]["outcome"] == "passed"
    check_exchange_is_measured(record)


def test_more_ranks_than_gpus_share_them_over_gloo(tmp_path):
    ranks = torch.cuda.device_count() + 1
    record = run("04_ddp_training.py", tmp_path, "--batch-size", 8, ranks=ranks)
    assert (record["world"]["backend"], record["world"]["shared"]) == ("gloo", True)
    assert record["parity"]["outcome"] == "passed"
    check_exchange_is_measured(record)


def test_missing_gpu_is_refused(tmp_path):
    process = run_script("03_dataparallel_training.py", "--gpus", "0,99", "--results-dir", tmp_path, env=GPU)
    assert process.returncode == 2
    assert "try --gpus 0" in process.stderr


def test_host_and_device_have_times_of_their_own(tmp_path):
    """The device can be no busier than the step is long; the host launches what the device does."""
    record = run("02_baseline_single_gpu.py", tmp_path, "--batch-size", 32, "--anatomy-steps", 6)
    (rank,) = record["anatomy"]["ranks"]
    assert record["anatomy"]["note"] == ""
    assert 0 < median(rank["busy_seconds"]["step"]) <= 1.05 * median(rank["step_seconds"])
    assert {"forward", "backward", "optimizer", "step"} <= set(rank["busy_seconds"])
    assert 0 < median(rank["host_seconds"]["forward"]) < median(rank["host_seconds"]["step"])


def test_replicas_on_a_gpu_run_in_the_dtype_and_memory_format_asked_for():
    """torch's own DataParallel, two replicas: autocast entered outside would be fp16 in its threads."""
    classifier = make_model(make_config(precision="bf16", memory_format="channels_last"), one_device("cuda"))
    seen = []
    for name, layer in classifier.backbone.named_children():
        if name == "layer1":
            layer.register_forward_hook(
                lambda module, inputs, out: seen.append(
                    (out.dtype, out.is_contiguous(memory_format=torch.channels_last))
                )
            )
    images = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8, device="cuda")
    logits = torch.nn.DataParallel(classifier, device_ids=[0, 0])(images)
    classifier.loss(logits, torch.zeros(8, dtype=torch.int64, device="cuda")).backward()
    assert seen == [(torch.bfloat16, True)] * 2
