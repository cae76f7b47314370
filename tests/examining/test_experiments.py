"""Where a step goes: the phases add up, and a fault put in on purpose shows in its place."""

import gzip
import json
from statistics import median

import pytest
from conftest import FEW_LAYERS_PARAMETERS, SMALL, planted, records_in, run_script, run_step_05
from factories import make_place

from common.examining import instruments
from common.examining.instruments import busy_by_phase
from common.examining.timed_steps import Experiment, NotMeasuredError

SINGLE, DP, DDP = "02_baseline_single_gpu.py", "03_dataparallel_training.py", "04_ddp_training.py"
PHASES = {"data wait", "copy", "forward", "loss", "backward", "optimizer"}
DP_PHASES = PHASES | {"scatter", "replicate", "gather", "reduce"}
MODEL_BYTES = 4 * FEW_LAYERS_PARAMETERS


@pytest.fixture
def profiles(small_lab):
    folder, _ = small_lab
    return {record["step"]: record["anatomy"] for record in records_in(folder)}


def run(tmp_path, script, code="", *arguments, ranks=0):
    """A run that is short but for its profile, with a fault in it: its record."""
    batch = ["--batch-size", 16, "--gpus", "0,1"] if script == DP else ["--batch-size", 8]
    short = [*SMALL, "--epochs", 1, "--samples-per-epoch", 16, "--uncounted-steps", 1, "--anatomy-steps", 3]
    results = tmp_path / "results"
    planted_script = planted(tmp_path, script, code)
    process = run_script(planted_script, *short, *batch, "--results-dir", results, *arguments, ranks=ranks)
    assert process.returncode == 0, process.stderr
    return records_in(results)[0]


def typical(rank, phase):
    return median(rank["phases"][phase])


def test_each_method_has_its_phases(profiles):
    phases = {step: [set(rank["phases"]) for rank in profile["ranks"]] for step, profile in profiles.items()}
    assert phases == {"02": [PHASES], "03": [DP_PHASES], "04": [PHASES | {"exchange"}] * 2}


def test_phases_add_up_to_the_step(profiles):
    """But for the rounding: each begins where the one before it ended."""
    for profile in profiles.values():
        for rank in profile["ranks"]:
            assert len(rank["step_seconds"]) == profile["steps"] == 2
            assert sum(map(sum, rank["phases"].values())) == pytest.approx(sum(rank["step_seconds"]), abs=1e-5)


def test_bytes_moved_are_those_of_the_model(profiles):
    assert profiles["02"]["bytes_moved"] == {}
    moved = profiles["03"]["bytes_moved"]
    assert moved["reduce"] == profiles["04"]["bytes_moved"]["exchange"] == MODEL_BYTES
    assert MODEL_BYTES < moved["replicate"] < 1.01 * MODEL_BYTES  # and its buffers
    assert sum(profiles["04"]["bucket_bytes"]) == MODEL_BYTES
    assert len(profiles["04"]["bucket_bytes"]) > 1


def test_replicas_are_told_apart_and_lie_within_the_step(profiles):
    (rank,) = profiles["03"]["ranks"]
    assert [len(replica) for replica in rank["replica_seconds"]] == [2, 2]
    for replica in rank["replica_seconds"]:
        assert all(0 < work < step for work, step in zip(replica, rank["step_seconds"], strict=True))


def test_the_exchange_is_priced_in_turn(profiles):
    for rank in profiles["04"]["ranks"]:
        for steps in ("exchange_on_seconds", "no_all_reduce_seconds", "exchange_off_seconds", "one_bucket_seconds"):
            assert len(rank[steps]) == 2
            assert min(rank[steps]) > 0
        assert len(rank["communication_seconds"]) == 1
        assert min(rank["communication_seconds"]) > 0


def event(cat, name, ts, dur, **args):
    return {"ph": "X", "cat": cat, "name": name, "ts": ts, "dur": dur, "args": args}


def test_work_belongs_to_the_phase_that_launched_it_and_is_counted_once():
    """A step of 100 µs by hand: the device works on after the host has gone on to the next phase."""
    events = [
        event("user_annotation", "step", 0, 100),
        event("user_annotation", "forward", 0, 40),
        event("user_annotation", "replicate", 0, 10),  # inside the forward
        event("user_annotation", "backward", 40, 60),
        event("user_annotation", "DataParallel.forward", 15, 10),  # torch's own
        event("cuda_runtime", "cudaLaunchKernel", 5, 1, correlation=1),
        event("cuda_runtime", "cudaLaunchKernel", 20, 1, correlation=2),
        event("cuda_runtime", "cudaLaunchKernel", 22, 1, correlation=3),
        event("cuda_runtime", "cudaLaunchKernel", 50, 1, correlation=4),
        event("cuda_runtime", "cudaLaunchKernel", 60, 1, correlation=5),
        event("cuda_runtime", "cudaLaunchKernel", 61, 1, correlation=6),
        event("kernel", "ncclDevKernel_Broadcast", 6, 4, correlation=1, device=0),
        event("kernel", "conv", 30, 20, correlation=2, device=0),
        event("kernel", "relu", 40, 20, correlation=3, device=0),  # ten of them beside the convolution
        event("kernel", "conv_backward", 70, 10, correlation=4, device=0),
        event("kernel", "ncclDevKernel_AllReduce", 75, 500, correlation=5, device=0),
        event("kernel", "conv_backward", 70, 99, correlation=6, device=1),
    ]
    seconds = busy_by_phase(events, 0)
    microseconds = {"replicate": [4], "forward": [30], "backward": [10], "exchange": [500], "step": [44]}
    assert seconds == {name: [pytest.approx(v / 1e6) for v in values] for name, values in microseconds.items()}


@pytest.mark.parametrize(("trouble", "reason"), [(OSError("disk full"), "disk full"), (MemoryError(), "MemoryError")])
def test_the_profilers_trouble_is_one_ranks_alone(monkeypatch, trouble, reason):
    def failing(*_):
        raise trouble

    monkeypatch.setattr(instruments, "profiled_steps", failing)
    with pytest.raises(NotMeasuredError, match=reason):
        instruments.busy_seconds(Experiment(None, make_place(), (), 1))


def test_zero_steps_turn_it_off(tmp_path):
    assert run(tmp_path, SINGLE, "", "--anatomy-steps", 0)["anatomy"] is None


def test_epochs_and_phases_survive_an_experiment_that_fails(tmp_path):
    code = """
from common.examining import experiments
def failing(*arguments):
    raise ValueError("planted [red]")
experiments.measure_for_prediction = failing
"""
    record = run(tmp_path, SINGLE, code)
    assert record["status"] == "completed"
    assert record["anatomy"]["note"] == "what predictions start from was not measured: planted [red]"
    assert set(record["anatomy"]["ranks"][0]["phases"]) == PHASES
    report = tmp_path / "report.html"
    process = run_step_05(tmp_path, "--results-dir", tmp_path / "results", "--output-report", report)
    assert process.returncode == 0, process.stderr
    assert "was not measured: planted [red]" in report.read_text()


def test_a_slow_loader_shows_as_data_wait(tmp_path):
    code = """
import time
from common.training.data import SyntheticImageNet
fetch = SyntheticImageNet.__getitems__
SyntheticImageNet.__getitems__ = lambda self, indices: (time.sleep(0.2), fetch(self, indices))[1]
"""
    record = run(tmp_path, SINGLE, code)
    (rank,) = record["anatomy"]["ranks"]
    assert 0.2 < typical(rank, "data wait") < 0.3
    assert median(record["ranks"][0]["data_wait_seconds"]) == pytest.approx(0.2, abs=0.1)


def test_a_slow_rank_shows_and_the_other_waits_for_it(tmp_path):
    code = """
import os, time
from common.training.models import TrainedModel
forward = TrainedModel.forward
def slow(self, images):
    time.sleep(0.3 * (os.environ["RANK"] == "1"))
    return forward(self, images)
TrainedModel.forward = slow
"""
    fast, slow = run(tmp_path, DDP, code, ranks=2)["anatomy"]["ranks"]
    assert typical(slow, "forward") - typical(fast, "forward") == pytest.approx(0.3, abs=0.1)
    assert typical(fast, "exchange") - typical(slow, "exchange") == pytest.approx(0.3, abs=0.15)


def test_a_large_buffer_shows_in_replicate(tmp_path, profiles):
    code = """
import torch
from common.training import models
create = models.create_model
def heavy(workload, config, place):
    model = create(workload, config, place)
    model.register_buffer("ballast", torch.zeros(2**26))
    return model
models.create_model = heavy
"""
    plain, heavy = profiles["03"], run(tmp_path, DP, code)["anatomy"]
    assert heavy["bytes_moved"]["replicate"] - plain["bytes_moved"]["replicate"] == 2**28
    gained = typical(heavy["ranks"][0], "replicate") - typical(plain["ranks"][0], "replicate")
    assert gained > 0.025  # a quarter of a GiB at less than 10 GiB/s
    others = {
        phase: typical(heavy["ranks"][0], phase) - typical(plain["ranks"][0], phase) for phase in ("gather", "loss")
    }
    assert max(others.values()) < gained / 5


def differences(profile):
    """Medians over the rounds of the slowest rank: the exchange alone, and the wrapper's own work."""
    on, silent, off = (
        [max(step) for step in zip(*(rank[f"{kind}_seconds"] for rank in profile["ranks"]), strict=True)]
        for kind in ("exchange_on", "no_all_reduce", "exchange_off")
    )
    return median(a - b for a, b in zip(on, silent, strict=True)), median(
        b - c for b, c in zip(silent, off, strict=True)
    )


def test_a_slow_link_is_the_exchange_and_not_the_wrapper(tmp_path):
    code = """
import time
import torch.distributed as dist
from common.training import distributed
def slow(state, bucket):
    work = dist.all_reduce(bucket.buffer(), async_op=True).get_future()
    def finish(done):
        time.sleep(0.4)  # of which some is hidden behind a backward pass that takes its time
        return done.value()[0] / dist.get_world_size()
    return work.then(finish)
distributed.register_comm_hook = lambda model, comm_hook: model.register_comm_hook(None, slow)
"""
    exchange, wrapper = differences(run(tmp_path, DDP, code, ranks=2)["anatomy"])
    assert exchange > 0.2
    assert wrapper < 0.1


def test_slow_work_of_the_wrapper_is_not_the_exchange(tmp_path):
    """What DDP does in a forward pass whose backward will exchange, it does in steps without an all-reduce, too."""
    code = """
import time
from torch.nn.parallel import DistributedDataParallel
forward = DistributedDataParallel.forward
def slow(self, *inputs):
    time.sleep(0.3 * self.require_backward_grad_sync)
    return forward(self, *inputs)
DistributedDataParallel.forward = slow
"""
    exchange, wrapper = differences(run(tmp_path, DDP, code, ranks=2)["anatomy"])
    assert wrapper == pytest.approx(0.3, abs=0.1)
    assert abs(exchange) < 0.1


def test_a_trace_holds_the_phases_of_every_rank(tmp_path):
    run(tmp_path, DDP, "", "--trace", "--anatomy-steps", 0, ranks=2)
    traces = sorted((tmp_path / "results" / "traces").iterdir())
    assert [path.name.rpartition("_")[2] for path in traces] == ["rank0.json.gz", "rank1.json.gz"]
    for path in traces:
        names = [event.get("name") for event in json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]]
        assert names.count("step") == names.count("backward") == 3
        assert set(names) >= PHASES
