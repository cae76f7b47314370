"""What only CUDA GPUs can show. One is enough for most: replicas and ranks then share it, and the records say so."""

import subprocess
import sys
from statistics import median

import pytest
import torch
from conftest import SMALL, environment, planted, records_in, run_script
from factories import make_config

from common.machine.devices import listed_devices, one_device
from common.training import models
from common.training.models import seed_devices

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
    assert "try --gpus 0" in process.stderr


def test_out_of_gpu_memory_leaves_a_record(tmp_path):
    arguments = ["--image-size", 224, "--batch-size", 8192, "--samples-per-epoch", 8192, "--results-dir", tmp_path]
    process = run_script("02_baseline_single_gpu.py", *arguments, env=GPU)
    assert process.returncode == 1
    assert records_in(tmp_path)[0]["failure"]["kind"] == "out_of_memory"


@pytest.mark.parametrize(
    "switches",
    [
        ["--amp", "--channels-last", "--accumulation-steps", "2"],
        ["--precision", "bf16", "--channels-last", "--compile"],
        ["--deterministic"],
    ],
)
def test_training_practice_on_a_gpu(tmp_path, switches):
    record = run("02_baseline_single_gpu.py", tmp_path, "--batch-size", 16, *switches)
    assert record["config"]["precision"] == ("fp16" if "--amp" in switches else record["config"]["precision"])
    assert record["epochs"][1]["mean_loss"] < 6.5


def test_deterministic_runs_are_identical_on_a_gpu(tmp_path):
    for _ in range(2):
        run("02_baseline_single_gpu.py", tmp_path, "--batch-size", 16, "--deterministic", "--amp")
    one, other = ([epoch["mean_loss"] for epoch in record["epochs"]] for record in records_in(tmp_path))
    assert one == other


def test_replicas_on_a_gpu_run_in_the_dtype_and_memory_format_asked_for():
    """torch's own DataParallel, two replicas: autocast entered outside would be fp16 in its threads."""
    classifier = models.create_model(make_config(precision="bf16", memory_format="channels_last"), one_device("cuda"))
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


@pytest.mark.parametrize(
    ("options", "ranks"),
    [
        (["--comm-hook", "bf16"], 1),
        (["--comm-hook", "fp16", "--amp"], 1),
        (["--comm-hook", "powersgd"], 1),
        (["--static-graph", "--one-bucket"], 1),
        (["--sync-bn"], torch.cuda.device_count() + 1),
        (["--compile", "--image-size", "64"], 1),  # torch 2.11 trips over maps of 1 × 1
    ],
)
def test_ddp_options_on_a_gpu(tmp_path, options, ranks):
    record = run("04_ddp_training.py", tmp_path, "--batch-size", 8, *options, ranks=ranks)
    assert record["parity"]["outcome"] == "passed"


def test_out_of_gpu_memory_ends_with_smaller_micro_batches(tmp_path):
    """3 GB of real memory, which hold the batch in several pieces only."""
    share = "import torch; whole = torch.cuda.get_device_properties(0).total_memory\n"
    share += "torch.cuda.set_per_process_memory_fraction(3e9 / whole)"
    script = planted(tmp_path, "02_baseline_single_gpu.py", share)
    arguments = ["--model", "resnet50", "--batch-size", 64, "--samples-per-epoch", 64, "--epochs", 1, "--workers", 1]
    arguments += ["--warmup-steps", 1, "--anatomy-steps", 0, "--auto-accumulate", "--results-dir", tmp_path / "results"]
    process = subprocess.run([sys.executable, *map(str, [script, *arguments])], env=GPU, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    *failed, completed = sorted(records_in(tmp_path / "results"), key=lambda r: r["config"]["accumulation_steps"])
    assert failed
    assert all(record["failure"]["kind"] == "out_of_memory" for record in failed)
    assert completed["config"]["accumulation_steps"] > 1
    assert completed["devices"][0]["memory"]["peak_reserved_bytes"] <= 3e9


@pytest.mark.parametrize(("script", "ranks"), [("03_dataparallel_training.py", 0), ("04_ddp_training.py", 1)])
def test_a_checkpoint_of_a_gpu_goes_on_under_another_method(tmp_path, script, ranks):
    run("02_baseline_single_gpu.py", tmp_path / "a", "--batch-size", 16, "--checkpoint-dir", tmp_path / "c", "--amp")
    newest = sorted((tmp_path / "c").iterdir())[-1]
    record = run(script, tmp_path / "b", "--batch-size", 16, "--epochs", 3, "--resume", newest, "--amp", ranks=ranks)
    assert record["resumed"]["epoch"] == 3
    assert record["epochs"][0]["mean_loss"] < 6


# ------------------------------------------------------------------------------------------------ two GPUs

several = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA GPUs")


@several
def test_dataparallel_on_two_gpus_says_what_its_threads_cost(tmp_path):
    record = run("03_dataparallel_training.py", tmp_path, "--batch-size", 16, "--gpus", "0,1", "--anatomy-steps", 6)
    assert not record["world"]["shared"]
    assert record["parity"]["outcome"] == "passed"
    (rank,) = record["anatomy"]["ranks"]
    kinds = ("new_threads", "kept_threads", "one_thread", "kept_replicas")
    assert all(len(rank[f"{kind}_seconds"]) == 6 for kind in kinds)
    assert median(rank["new_threads_seconds"]) > median(rank["kept_threads_seconds"])


@several
def test_ddp_over_nccl_on_two_gpus_parts_cleanly(tmp_path):
    record = run("04_ddp_training.py", tmp_path, "--batch-size", 8, ranks=2)
    assert (record["world"]["backend"], record["world"]["shared"]) == ("nccl", False)
    assert "NCCL" in record["backend_class"]
    assert record["parity"]["outcome"] == "passed"
    assert all(rank["busy_seconds"]["exchange"] for rank in record["anatomy"]["ranks"])


@several
def test_a_rank_that_fails_alone_over_nccl_ends_the_job_with_its_reason(tmp_path):
    code = """
import os
from common.training import epoch
step = epoch.training_step
def failing(training, batches):
    if os.environ["RANK"] == "1":
        raise ValueError("planted")
    return step(training, batches)
epoch.training_step = failing
"""
    script = planted(tmp_path, "04_ddp_training.py", code)
    arguments = [*SMALL, "--batch-size", 8, "--workers", 1, "--results-dir", tmp_path / "results"]
    process = run_script(script, *arguments, ranks=2, env=GPU, timeout=120)
    assert process.returncode == 1
    (record,) = records_in(tmp_path / "results")
    assert (record["failure"]["rank"], record["failure"]["message"]) == (1, "planted")


def test_host_and_device_have_times_of_their_own(tmp_path):
    """The device can be no busier than the step is long; the host launches what the device does."""
    record = run("02_baseline_single_gpu.py", tmp_path, "--batch-size", 32, "--anatomy-steps", 6)
    (rank,) = record["anatomy"]["ranks"]
    assert record["anatomy"]["note"] == ""
    assert 0 < median(rank["busy_seconds"]["step"]) <= 1.05 * median(rank["step_seconds"])
    assert {"forward", "backward", "optimizer", "step"} <= set(rank["busy_seconds"])
    assert 0 < median(rank["host_seconds"]["forward"]) < median(rank["host_seconds"]["step"])


@several
def test_replicas_on_two_gpus_drop_different_units():
    torch.cuda.init()
    seed_devices(listed_devices("cuda", "0,1"), 0)
    drawn = [torch.rand(8, device=f"cuda:{index}").tolist() for index in (0, 1)]
    assert drawn[0] != drawn[1]
