"""Options of DDP over NCCL: on two GPUs where there are two."""

import pytest
import torch
from gpu_runs import run

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU"),
]


RANKS = min(2, torch.cuda.device_count())


@pytest.mark.parametrize(
    ("options", "ranks"),
    [
        (["--comm-hook", "bf16", "--find-unused-parameters"], RANKS),
        (["--comm-hook", "fp16", "--amp"], RANKS),
        (["--comm-hook", "powersgd", "--one-bucket"], RANKS),
        (["--static-graph", "--one-bucket"], RANKS),
        (["--no-gradient-as-bucket-view", "--broadcast-buffers"], RANKS),
        (["--sync-bn"], RANKS),
        (["--sync-bn", "--model", "resnet50", "--image-size", "224"], RANKS),  # fp32 alone rounds to 2 % there
        (["--sync-bn"], torch.cuda.device_count() + 1),  # over gloo, sharing a GPU
        (["--compile", "--image-size", "64"], RANKS),  # torch 2.11 trips over maps of 1 × 1
        (["--exchange", "overlapped"], RANKS),
    ],
)
def test_ddp_options_on_a_gpu(tmp_path, options, ranks):
    record = run("04_ddp_training.py", tmp_path, "--batch-size", 8, *options, ranks=ranks)
    assert record["world"]["backend"] == ("nccl" if ranks <= torch.cuda.device_count() else "gloo")
    assert record["parity"]["outcome"] == "passed"
