"""Variables that nobody passed as a flag: recorded, kept apart, and named before they spoil a run."""

from __future__ import annotations

import pytest
from conftest import SMALL, environment, records_in, run_script

from common.command_line.variables import slowing_variables, steering_variables


def test_those_that_change_speed_are_recorded_and_no_others():
    of_torchrun = {"OMP_NUM_THREADS": "1", "TORCH_NCCL_ASYNC_ERROR_HANDLING": "1"}
    of_the_lab = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
    others = {"HOME": "/root", "TORCHINDUCTOR_CACHE_DIR": "/tmp/x", "TORCHELASTIC_RUN_ID": "1", "NCCL_DEBUG": "INFO"}
    assert steering_variables(of_torchrun | of_the_lab | others) == ""
    known = {"KMP_BLOCKTIME": "0", "ATEN_CPU_CAPABILITY": "default", "PYTORCH_ALLOC_CONF": "expandable_segments:True",
             "ONEDNN_MAX_CPU_ISA": "SSE41", "CUDA_LAUNCH_BLOCKING": "1", "NVIDIA_TF32_OVERRIDE": "0"}  # fmt: skip
    assert steering_variables(known | others) == " ".join(f"{name}={known[name]}" for name in sorted(known))


@pytest.mark.parametrize(
    ("set_to", "in_ranks", "ids"),
    [
        ({"CUDA_LAUNCH_BLOCKING": "1"}, False, ["slows"]),
        ({"CUDA_LAUNCH_BLOCKING": "0"}, False, []),
        ({"TORCH_DISTRIBUTED_DEBUG": "INFO"}, True, ["slows"]),
        ({"TORCH_DISTRIBUTED_DEBUG": "detail"}, True, ["detail"]),
        ({"TORCH_DISTRIBUTED_DEBUG": "DETAIL"}, False, []),
        ({"TORCH_DISTRIBUTED_DEBUG": "OFF"}, True, []),
        ({"OMP_PROC_BIND": "close"}, True, ["binds"]),
        ({"OMP_PROC_BIND": "false"}, True, []),
        ({"OMP_PROC_BIND": "close"}, False, []),
    ],
)
def test_those_that_spoil_what_is_measured_are_told_apart(set_to, in_ranks, ids):
    assert [id for id, _ in slowing_variables(in_ranks, set_to)] == ids


def test_a_run_names_them_at_its_start_and_in_its_record(tmp_path):
    where = ["--results-dir", tmp_path, "--batch-size", 8]
    slow = environment(TORCH_DISTRIBUTED_DEBUG="INFO", PYTORCH_NO_CUDA_MEMORY_CACHING="1")
    done = run_script("04_ddp_training.py", *SMALL, *where, ranks=2, env=slow)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("TORCH_DISTRIBUTED_DEBUG=INFO is set") == 1
    assert done.stderr.count("unset PYTORCH_NO_CUDA_MEMORY_CACHING") == 1
    (record,) = records_in(tmp_path)
    both = "PYTORCH_NO_CUDA_MEMORY_CACHING=1 TORCH_DISTRIBUTED_DEBUG=INFO"
    assert both in record["environment"]["variables"]


def test_there_is_a_line_before_torch_ends_with_a_signal(tmp_path):
    env = environment(TORCH_DISTRIBUTED_DEBUG="DETAIL")
    done = run_script("04_ddp_training.py", *SMALL, "--results-dir", tmp_path, "--batch-size", 8, ranks=2, env=env)
    assert "TORCH_DISTRIBUTED_DEBUG=DETAIL is set" in done.stderr.splitlines()[0]
    assert "SIGSEGV" in done.stderr.splitlines()[0]
