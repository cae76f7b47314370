"""What predictions start from, on a GPU."""

import pytest
import torch
from gpu_runs import run

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU"),
]


def test_one_gpu_knows_its_gradients_a_replica_and_its_convolutions(tmp_path):
    profile = run("02_baseline_single_gpu.py", tmp_path, "--batch-size", 8)["anatomy"]
    assert profile["note"] == ""
    gradients = profile["gradients"]
    assert sum(gradients["bytes"]) == 4 * 11_689_512
    assert 0 < gradients["ready_seconds"][-1] <= gradients["backward_seconds"]
    assert profile["different_convolutions"] == 11
    assert all(0 < seconds < 1 for seconds in profile["replicate_seconds"])
