"""Training practice: every switch does what its name says, in the methods that have it, and is in the record."""

import json

import pytest
import torch
from conftest import SMALL, environment, planted, records_in, run_script, run_worker
from factories import make_config, make_model, make_place
from torch import nn
from trainers import make_training, micro_batches, weights_after

from common.records import NEWER_OPTIONS, has_option
from common.training.data_parallel import EmulatedDataParallel

SINGLE, DP, DDP = "02_baseline_single_gpu.py", "03_dataparallel_training.py", "04_ddp_training.py"
SHORT = [*SMALL, "--epochs", 1, "--uncounted-steps", 1]
HAS_LAZY_BUCKETS = has_option(torch.__version__, NEWER_OPTIONS["lazy_bucket_allocation"])


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("parts", [2, 4])
def test_micro_batches_give_the_gradient_of_one_batch(count, parts):
    """One device (1) and DataParallel (2): the same weights after a step, however the batch is split."""
    config, devices = make_config(global_batch_size=16, per_device_batch_size=16 // count), make_place(count)
    wrap = (
        (lambda classifier: EmulatedDataParallel(classifier, range(count)))
        if count > 1
        else (lambda classifier: classifier)
    )
    whole, split = (make_training(config, devices, wrap) for _ in range(2))
    before = nn.utils.parameters_to_vector(whole.module.parameters()).detach().clone()
    expected = weights_after(whole, micro_batches(whole.loader, 1))
    accumulated = weights_after(split, micro_batches(split.loader, parts))
    torch.testing.assert_close(accumulated, expected, rtol=1e-4, atol=1e-6)
    assert (expected - before).abs().max() > 1e-3


def test_under_ddp_too_and_the_exchange_happens_once_a_step():
    process = run_worker("accumulated_steps.py", ranks=2)
    assert process.returncode == 0, process.stderr
    measured = json.loads(process.stdout.splitlines()[-1])
    assert measured["difference"] < 1e-6
    assert measured["all-reduces"] == [1, 1]


def test_a_last_partial_group_is_flushed_and_counted(tmp_path):
    """18 micro-batches of 4 are 4 steps of 4 and a step of 2."""
    arguments = [*SHORT, "--samples-per-epoch", 72, "--batch-size", 16, "--accumulation-steps", 4]
    process = run_script(SINGLE, *arguments, "--results-dir", tmp_path)
    assert process.returncode == 0, process.stderr
    (record,) = records_in(tmp_path)
    assert record["config"]["accumulation_steps"] == 4
    (epoch,) = record["epochs"]
    assert (epoch["steps"], epoch["samples"], record["ranks"][0]["samples"]) == (5, 72, [72])
    assert record["ranks"][0]["checksums"] == [epoch["expected_checksum"]]
    assert "4 micro-batches" in process.stdout


class DtypeProbe(nn.Module):
    """Passes features on and notes the dtype that they have inside the model, and which memory format."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __deepcopy__(self, memo):
        return self  # one list for all replicas

    def forward(self, x):
        self.seen.append((x.dtype, x.is_contiguous(memory_format=torch.channels_last)))
        return x


@pytest.mark.parametrize("devices", [1, 3])
def test_replicas_run_in_the_precision_and_memory_format_asked_for(devices):
    config = make_config(model="resnet18", precision="bf16", memory_format="channels_last")
    classifier = make_model(config, make_place(devices))
    probe = classifier.backbone.layer1 = nn.Sequential(DtypeProbe(), classifier.backbone.layer1)[0]
    assert classifier.backbone.conv1.weight.is_contiguous(memory_format=torch.channels_last)
    model = EmulatedDataParallel(classifier, range(devices)) if devices > 1 else classifier
    images = torch.randint(0, 256, (6, 3, 32, 32), dtype=torch.uint8)
    classifier.loss(model(images), torch.zeros(6, dtype=torch.int64)).backward()
    assert probe.seen == [(torch.bfloat16, True)] * devices


def test_amp_is_bf16_on_cores_and_every_switch_is_in_the_record(tmp_path):
    switches = ["--amp", "--channels-last", "--deterministic"]
    for script, more in ((SINGLE, ["--batch-size", 8]), (DP, ["--batch-size", 16, "--gpus", "0,1"])):
        process = run_script(script, *SHORT, "--samples-per-epoch", 16, *more, *switches, "--results-dir", tmp_path)
        assert process.returncode == 0, process.stderr
        assert "channels-last, deterministic" in process.stdout
    for record in records_in(tmp_path):
        config = record["config"]
        assert (config["precision"], config["memory_format"], config["deterministic"]) == (
            "bf16",
            "channels_last",
            True,
        )


def test_deterministic_runs_of_one_seed_have_identical_losses(tmp_path):
    # With dropout, whose random numbers must be the same, too.
    arguments = [*SHORT, "--model", "squeezenet1_1", "--batch-size", 8, "--deterministic"]
    for seed in (1, 1, 2):
        assert run_script(SINGLE, *arguments, "--seed", seed, "--results-dir", tmp_path).returncode == 0
    one, again, other = ([epoch["mean_loss"] for epoch in record["epochs"]] for record in records_in(tmp_path))
    assert one == again != other


def test_a_compiled_model_trains(tmp_path):
    """Up to the graphs that torch cuts where DDP's buckets end. Code for them is not made: that takes minutes here.

    A model of few layers, for each takes its time; the second bucket begins after the first MiB.
    """
    code = """
import torch
from torch import nn
from common.training import by_library
def few_layers(config):
    wide = nn.Sequential(nn.Linear(3 * 16, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU())
    layers = nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), wide, nn.Linear(512, config.num_classes))
    return by_library.image_workload(layers, config)
by_library.torchvision_workload = few_layers
make = torch.nn.Module.compile
def compiled(self, mode):
    print("compiles", type(self).__name__, mode)
    make(self, backend="aot_eager")
torch.nn.Module.compile = compiled
"""
    arguments = [*SHORT, "--batch-size", 8, "--compile", "--compile-mode", "max-autotune"]
    arguments += ["--results-dir", tmp_path / "results"]
    process = run_script(planted(tmp_path, DDP, code), *arguments, ranks=2)
    assert process.returncode == 0, process.stderr
    assert "compiles DistributedDataParallel max-autotune" in process.stdout
    (record,) = records_in(tmp_path / "results")
    assert (record["config"]["compile"], record["config"]["compile_mode"]) == (True, "max-autotune")
    assert record["parity"]["outcome"] == "passed"


def test_a_fused_optimizer_takes_the_same_steps(tmp_path):
    code = """
import torch
make = torch.optim.SGD.__init__
def noted(self, *arguments, fused, **more):
    print("fused is", fused)
    make(self, *arguments, fused=fused, **more)
torch.optim.SGD.__init__ = noted
"""
    script = planted(tmp_path, SINGLE, code)
    for number, (options, said) in enumerate([([], "fused is None"), (["--fused-optimizer"], "fused is True")]):
        process = run_script(script, *SHORT, "--batch-size", 8, *options, "--results-dir", tmp_path / str(number))
        assert process.returncode == 0, process.stderr
        assert said in process.stdout
    (usual,), (fused,) = (records_in(tmp_path / str(number)) for number in range(2))
    assert [usual["config"]["fused_optimizer"], fused["config"]["fused_optimizer"]] == [False, True]
    assert fused["epochs"][0]["mean_loss"] == pytest.approx(usual["epochs"][0]["mean_loss"], rel=1e-4)


def test_ddp_options_train_and_pass_parity(tmp_path):
    """Several of them at once: what goes together."""
    for options in (
        ["--one-bucket", "--anatomy-steps", 1],
        ["--static-graph", "--no-gradient-as-bucket-view", "--broadcast-buffers"],
        ["--comm-hook", "fp16", "--find-unused-parameters", "--bucket-cap-mb", "5", "--anatomy-steps", 1],
        ["--comm-hook", "powersgd", "--one-bucket"],
    ):
        arguments = [*SHORT, "--lr", 0.1, "--batch-size", 8, *options, "--results-dir", tmp_path]
        process = run_script(DDP, *arguments, ranks=2)
        assert process.returncode == 0, process.stderr
        assert "FutureWarning" not in process.stderr
        assert ("not exact" in " ".join(process.stdout.split())) == ("--comm-hook" in options)
    usual, static, rounded, approximated = records_in(tmp_path)
    assert all(record["parity"]["outcome"] == "passed" for record in records_in(tmp_path))
    assert len(usual["anatomy"]["bucket_bytes"]) == 1
    losses = [record["epochs"][0]["mean_loss"] for record in (usual, static, rounded, approximated)]
    assert losses[0] == losses[1]
    assert losses[0] == pytest.approx(losses[2], rel=0.01)
    assert len(set(losses)) == 3
    assert rounded["anatomy"]["bytes_moved"]["exchange"] * 2 == sum(rounded["anatomy"]["bucket_bytes"])
    assert rounded["parity"]["tolerance"] > approximated["parity"]["tolerance"]
    assert rounded["parity"]["max_relative_error"] > 0
    options = {name: record["config"]["ddp"] for name, record in (("static", static), ("rounded", rounded))}
    assert options["static"]["static_graph"]
    assert options["static"]["broadcast_buffers"]
    assert not options["static"]["gradient_as_bucket_view"]
    assert options["rounded"]["find_unused_parameters"]
    assert options["rounded"]["bucket_cap_mb"] == 5
    for record in (rounded, approximated):
        assert "not exact" in record["parity"]["note"]


@pytest.mark.parametrize(
    ("script", "arguments", "said"),
    [
        (SINGLE, ["--accumulation-steps", "0"], "--accumulation-steps"),
        (SINGLE, ["--accumulation-steps", "5"], "4 or 8"),
        (SINGLE, ["--amp", "--precision", "bf16"], "--precision"),
        (DP, ["--compile", "--gpus", "0,1"], "step 04"),
        (SINGLE, ["--compile-mode", "reduce-overhead"], "needs --compile"),
        (SINGLE, ["--cudnn-benchmark"], "needs GPUs"),
        (SINGLE, ["--prefetch"], "needs GPUs"),
        (SINGLE, ["--precision", "fp16", "--fused-optimizer"], "uninitialised"),
        (DP, ["--accumulation-steps", "16", "--gpus", "0,1"], "--batch-size 32"),
        (SINGLE, ["--tensorboard", "logs"], "pip install tensorboard"),
    ],
)
def test_bad_input_is_one_line(tmp_path, script, arguments, said):
    # As if the package were not installed.
    hidden = "import importlib.util as u; f = u.find_spec; u.find_spec = lambda n: None if n == 'tensorboard' else f(n)"
    script = planted(tmp_path, script, hidden)
    process = run_script(script, "--batch-size", 16, *arguments, "--results-dir", tmp_path / "results")
    assert process.returncode == 2, process.stderr
    assert process.stderr.startswith("error: ")
    assert process.stderr.count("\n") == 1
    assert said in process.stderr
    assert process.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--static-graph", "--find-unused-parameters"], "not allowed with"),
        (["--static-graph", "--accumulation-steps", "2"], "no_sync"),
        (["--one-bucket", "--bucket-cap-mb", "5"], "not allowed with"),
        (["--comm-hook", "zip"], "powersgd"),
        (["--comm-hook", "powersgd"], "--one-bucket"),
        (["--comm-hook", "bf16"], "fp16"),
        (["--sync-bn"], "GPUs"),
        pytest.param(
            ["--lazy-bucket-allocation"],
            "needs torch 2.15",
            marks=pytest.mark.skipif(
                tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 15), reason="2.15 has it"
            ),
        ),
        (["--auto-accumulate"], "--max-restarts"),
    ],
)
def test_ddp_options_that_contradict_each_other_are_refused(tmp_path, arguments, said):
    """As one rank sees it, started without torchrun: it ends before it would look for the others."""
    rank = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"}
    rank |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    process = run_script(DDP, "--batch-size", 16, *arguments, "--results-dir", tmp_path, env=environment(**rank))
    assert process.returncode == 2, process.stderr
    assert process.stderr.startswith("error: ")
    assert process.stderr.count("\n") == 1
    assert said in process.stderr
    assert records_in(tmp_path) == []


def test_tensorboard_logs_hold_the_scalars(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    arguments = [*SMALL, "--batch-size", 16, "--tensorboard", tmp_path / "logs", "--results-dir", tmp_path]
    assert run_script(SINGLE, *arguments).returncode == 0
    (record,) = records_in(tmp_path)
    events = EventAccumulator(str(tmp_path / "logs" / record["run_id"])).Reload()
    losses = [event.value for event in events.Scalars("epoch/loss")]
    assert losses == pytest.approx([epoch["mean_loss"] for epoch in record["epochs"]])
    assert len(events.Scalars("step/loss of rank 0")) == sum(epoch["steps"] for epoch in record["epochs"])
    assert events.Scalars("epoch/learning rate")[0].value == pytest.approx(record["config"]["learning_rate"])
    assert {"step/samples per second", "epoch/peak GiB of device 0"} <= set(events.Tags()["scalars"])
