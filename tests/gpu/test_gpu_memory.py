"""A CUDA GPU whose memory is too small, and weights that move between methods."""

import subprocess
import sys

import pytest
import torch
from conftest import planted, records_in, run_script
from gpu_runs import GPU, run

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU"),
]


SHARE = """
import torch
whole = torch.cuda.get_device_properties(0).total_memory
torch.cuda.set_per_process_memory_fraction(3e9 / whole)
"""
"""3 GB of real memory, not all of it: other tests use the same GPU at the same time."""


def test_out_of_gpu_memory_leaves_a_record(tmp_path):
    script = planted(tmp_path, "02_baseline_single_gpu.py", SHARE)
    arguments = ["--image-size", 224, "--batch-size", 512, "--samples-per-epoch", 512, "--results-dir", tmp_path / "r"]
    process = run_script(script, *arguments, env=GPU)
    assert process.returncode == 1
    assert records_in(tmp_path / "r")[0]["failure"]["kind"] == "out_of_memory"


def test_out_of_gpu_memory_ends_with_smaller_micro_batches(tmp_path):
    """The batch fits in several pieces only."""
    script = planted(tmp_path, "02_baseline_single_gpu.py", SHARE)
    arguments = ["--model", "resnet50", "--batch-size", 64, "--samples-per-epoch", 64, "--epochs", 1, "--workers", 1]
    arguments += ["--uncounted-steps", 1, "--anatomy-steps", 0, "--auto-accumulate"]
    arguments += ["--results-dir", tmp_path / "results"]
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
