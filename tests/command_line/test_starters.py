"""Scripts that were started by something else than `python` or `torchrun`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import SMALL, environment, run_script

SINGLE, DP, DDP = "02_baseline_single_gpu.py", "03_dataparallel_training.py", "04_ddp_training.py"


@pytest.mark.parametrize("flag", ["--local-rank=0", "--local_rank=1"])
def test_a_flag_that_nobody_typed_is_named_with_the_launcher_it_comes_from(flag):
    done = run_script(DDP, *SMALL, flag, ranks=2)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "torch.distributed.launch" in done.stderr
    assert "torchrun --standalone --nproc_per_node=2 04_ddp_training.py" in done.stderr


def test_the_old_launcher_itself():
    launcher = Path(torch.distributed.__file__).parent / "launch.py"
    done = run_script(str(launcher), "--master_port=29541", DDP, timeout=100)
    assert "--local-rank comes from python -m torch.distributed.launch" in done.stderr


def test_a_single_rank_is_said_to_have_nobody_to_exchange_with(tmp_path):
    done = run_script(DDP, *SMALL, "--batch-size", 8, "--results-dir", tmp_path, ranks=1)
    assert done.returncode == 0, done.stderr
    assert "one process only" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("variable", "starter"), [("SLURM_STEP_NUM_TASKS", "srun"), ("OMPI_COMM_WORLD_SIZE", "mpirun")]
)
@pytest.mark.parametrize("script", [SINGLE, DP])
def test_several_copies_of_one_process_are_refused(tmp_path, script, variable, starter):
    done = run_script(script, *SMALL, "--results-dir", tmp_path, env=environment(**{variable: "4"}))
    assert done.returncode == 2
    assert f"{starter} has started several copies of {script}" in done.stderr
