"""--auto-accumulate: out of memory, a run starts anew in a fresh process with the same batch in smaller pieces."""

import pytest
from conftest import SMALL, SQUEEZENET, TWO_RANKS_RESTARTED, planted, records_in, run_script
from factories import make_place

from common.command_line.resolve import next_accumulation
from common.running.start import next_steps

SINGLE, DDP = "02_baseline_single_gpu.py", "04_ddp_training.py"

# A device that holds no more than eight images at once, from the first warm-up step on.
LITTLE_MEMORY = """
import torch
from common.training.models import TrainedModel
forward = TrainedModel.forward
def limited(self, images):
    if len(images) > 8 and images.device.type != "meta" and self.training and torch.is_grad_enabled():
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    return forward(self, images)
TrainedModel.forward = limited
"""


@pytest.mark.parametrize(("script", "ranks"), [(SINGLE, 0), (DDP, 2)])
def test_it_ends_with_the_fewest_steps_that_fit(tmp_path, script, ranks):
    """02 puts a new process in its place, which knows no model of the tests; 04's ranks torchrun forks anew."""
    arguments = [*(SMALL if ranks else SQUEEZENET), "--batch-size", 16, "--epochs", 1, "--auto-accumulate"]
    arguments += ["--results-dir", tmp_path / "results"]
    limited = planted(tmp_path, script, LITTLE_MEMORY)
    process = run_script(limited, *arguments, ranks=ranks, torchrun=TWO_RANKS_RESTARTED if script == DDP else ())
    assert process.returncode == 0, process.stderr
    *failed, completed = sorted(records_in(tmp_path / "results"), key=lambda r: r["config"]["accumulation_steps"])
    assert [record["failure"]["kind"] for record in failed] == ["out_of_memory"]
    assert [record["config"]["accumulation_steps"] for record in failed] == [1]
    assert completed["status"] == "completed"
    assert completed["config"]["accumulation_steps"] == 2
    assert completed["config"]["global_batch_size"] == failed[0]["config"]["global_batch_size"]
    assert "--auto-accumulate" in completed["command"]
    assert "starting anew with --accumulation-steps 2" in process.stderr


def test_without_it_the_message_names_batch_peak_and_the_way_out(tmp_path):
    arguments = [*SMALL, "--batch-size", 16, "--epochs", 1, "--results-dir", tmp_path / "results"]
    process = run_script(planted(tmp_path, SINGLE, LITTLE_MEMORY), *arguments)
    assert process.returncode == 1
    (record,) = records_in(tmp_path / "results")
    advice = record["failure"]["advice"]
    assert "16 images of 32 px" in advice
    assert "peak" in advice
    assert "MiB" in advice
    assert "--accumulation-steps 2 keeps the global batch of 16" in advice
    assert advice in process.stderr


def test_where_samples_come_one_by_one_there_is_no_next_try(tmp_path):
    code = LITTLE_MEMORY.replace("len(images) > 8", "True")
    arguments = [*SMALL, "--image-size", 64, "--batch-size", 4, "--accumulation-steps", 4, "--epochs", 1]
    arguments += ["--auto-accumulate", "--results-dir", tmp_path / "results"]
    process = run_script(planted(tmp_path, SINGLE, code), *arguments)
    assert process.returncode == 1
    assert "starting anew" not in process.stderr
    (record,) = records_in(tmp_path / "results")
    assert record["config"]["accumulation_steps"] == 4
    assert "lower --image-size" in record["failure"]["advice"]


@pytest.mark.parametrize(
    ("batch", "now", "devices", "following"),
    [(64, 1, 1, 2), (64, 2, 1, 4), (12, 2, 1, 3), (7, 1, 1, 7), (64, 64, 1, None), (8, 4, 2, None), (12, 1, 4, 3)],
)
def test_the_next_number_divides_the_batch_and_leaves_a_sample_for_every_device(batch, now, devices, following):
    assert next_accumulation(batch, now, devices) == following


def test_a_rank_counts_its_own_batch():
    from factories import make_config

    config = make_config(global_batch_size=6, per_device_batch_size=3)
    world = make_place().world.model_copy(update={"devices": 2, "processes": 2, "backend": "gloo"})
    assert next_steps(config, world) == 3
