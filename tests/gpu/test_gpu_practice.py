"""Precisions, switches and checkpoints on a CUDA GPU."""

import pytest
import torch
from conftest import records_in
from gpu_runs import run

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU"),
]


@pytest.mark.parametrize("precision", ["ieee-fp32", "tf32", "bf16", "fp16"])
def test_precisions_train(tmp_path, precision):
    if precision in ("tf32", "bf16") and torch.cuda.get_device_capability()[0] < 8:
        pytest.skip(f"this GPU has no {precision}")
    record = run("02_baseline_single_gpu.py", tmp_path, "--batch-size", 16, "--precision", precision)
    assert record["config"]["precision"] == precision
    assert record["epochs"][1]["mean_loss"] < 6.5  # untrained: ln 1000, nearly 7


@pytest.mark.parametrize(
    "switches",
    [
        ["--amp", "--channels-last", "--accumulation-steps", "2"],
        ["--precision", "bf16", "--channels-last", "--compile"],
        ["--precision", "bf16", "--channels-last", "--compile", "--compile-mode", "reduce-overhead"],
        ["--fused-optimizer", "--cudnn-benchmark"],
        ["--prefetch", "--accumulation-steps", "2"],
        ["--precision", "bf16", "--fused-optimizer"],
        ["--deterministic"],
    ],
)
def test_training_practice_on_a_gpu(tmp_path, switches):
    record = run("02_baseline_single_gpu.py", tmp_path, "--batch-size", 16, *switches)
    asked = "fp16" if "--amp" in switches else "bf16" if "bf16" in switches else None
    assert asked in (None, record["config"]["precision"])
    assert record["epochs"][1]["mean_loss"] < 6.5


def test_deterministic_runs_are_identical_on_a_gpu(tmp_path):
    for _ in range(2):
        run("02_baseline_single_gpu.py", tmp_path, "--batch-size", 16, "--deterministic", "--amp")
    one, other = ([epoch["mean_loss"] for epoch in record["epochs"]] for record in records_in(tmp_path))
    assert one == other
