import json
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from analysis.factories import make_record
from analysis.views import outcome
from conftest import run_worker
from factories import make_classifier, make_config, make_model, make_place, small_classifier
from torch import nn
from trainers import train_step

from common.console.run_lines import parity_line
from common.examining import parity
from common.records import DdpOptions
from common.sentences import Sentences
from common.training.data import SyntheticImageNet
from common.training.data_parallel import EmulatedDataParallel
from common.training.training import Training

SAMPLES = SyntheticImageNet(64, 32, 10, seed=0)


def check(model, devices=2, samples=SAMPLES, **config):
    """What the check says of a model on so many CPU devices, with the scripts' own step."""
    loader = SimpleNamespace(dataset=samples)
    return parity.check_parity(Training(train_step, model, None, loader, make_config(**config)), make_place(devices))


def test_ieee_fp32_puts_everything_back():
    model = make_model(make_config(model="alexnet", image_size=64, precision="bf16"), make_place())
    dropouts = [module for module in model.modules() if isinstance(module, nn.Dropout)]
    with parity.ieee_fp32(model):
        assert model.autocast_dtype is None
        assert not any(module.training for module in dropouts)
    assert model.autocast_dtype is torch.bfloat16
    assert dropouts
    assert all(module.training for module in dropouts)


def test_the_emulated_dataparallel_passes_and_leaves_nothing_behind():
    classifier = make_model(make_config(), make_place())
    before = [tensor.clone() for tensor in (*classifier.parameters(), *classifier.buffers())]
    parity = check(EmulatedDataParallel(classifier, range(3)), devices=3)
    assert (parity.outcome, parity.shards, parity.samples) == ("passed", 3, 12)
    assert parity.max_relative_error < 1e-5
    after = [*classifier.parameters(), *classifier.buffers()]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    assert all(parameter.grad is None for parameter in classifier.parameters())
    assert all(module.training for module in classifier.modules())


class MasksSoManySamples(nn.Module):
    """Its buffer has as many rows as the batch: `forward` replaces it where they differ."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 10)
        self.register_buffer("mask", torch.ones(1, 3), persistent=False)

    def forward(self, images):
        if len(self.mask) != len(images):
            self.mask = torch.ones(len(images), 3)
        return self.layer(images.mean((2, 3)) * self.mask)


def test_a_buffer_that_grows_with_the_batch_is_put_back():
    classifier = make_classifier(MasksSoManySamples(), make_config())
    assert check(EmulatedDataParallel(classifier, range(2))).outcome == "passed"
    assert classifier.backbone.mask.shape == (1, 3)


def test_one_bare_device_has_nothing_to_compare():
    classifier = small_classifier()
    assert check(classifier, devices=1).outcome == "not applicable"


class DropsAReplica(EmulatedDataParallel):
    def parallel_apply(self, replicas, inputs, kwargs):
        shards = super().parallel_apply(replicas, inputs, kwargs)
        for parameter in shards[-1].replica.parameters():
            parameter.register_hook(torch.zeros_like)
        return shards


class SeesAShardTwice(EmulatedDataParallel):
    def scatter(self, inputs, kwargs, device_ids):
        parts, kwargs = super().scatter(inputs, kwargs, device_ids)
        return [parts[0], *parts[:-1]], kwargs


class SumsInsteadOfAveraging(EmulatedDataParallel):
    def gather(self, outputs, output_device):
        gathered = super().gather(outputs, output_device)
        gathered.register_hook(lambda gradient: gradient * len(outputs))
        return gathered


class CopiesStaleParameters(EmulatedDataParallel):
    def replicate(self, module, device_ids):
        replicas = super().replicate(module, device_ids)
        with torch.no_grad():
            for parameter in replicas[-1].parameters():
                parameter.add_(0.01)
        return replicas


@pytest.mark.parametrize("fault", [DropsAReplica, SeesAShardTwice, SumsInsteadOfAveraging, CopiesStaleParameters])
@pytest.mark.parametrize("devices", [2, 8])
def test_a_fault_in_dataparallel_is_caught(fault, devices):
    classifier = small_classifier()
    parity = check(fault(classifier, range(devices)), devices)
    assert parity.outcome == "failed"
    assert parity.max_relative_error > 10 * parity.tolerance
    assert parity.worst_parameter in parity.note


def test_faults_in_ddp_are_caught_whichever_rank_has_them():
    process = run_worker("parity_faults.py", ranks=2)
    assert process.returncode == 0, process.stderr
    outcomes = json.loads(process.stdout.splitlines()[-1])
    assert {fault: parity["outcome"] for fault, parity in outcomes.items()} == {
        "none": "passed",
        "shard seen twice": "failed",
        "skips the exchange": "failed",
        "summed": "failed",
        "exchanges the first time only": "failed",
    }


def test_dropout_and_half_precision_do_not_disturb_it():
    classifier = small_classifier(make_config(precision="bf16"), nn.Dropout(0.5))
    assert check(EmulatedDataParallel(classifier, range(2))).outcome == "passed"
    assert classifier.autocast_dtype is torch.bfloat16


@pytest.mark.parametrize(
    ("name", "size"),
    [("googlenet", 64), ("squeezenet1_1", 32), ("swin_t", 32), ("mobilenet_v3_small", 32)],
)
def test_it_runs_across_the_zoo(name, size):
    config = make_config(model=name, image_size=size, per_device_batch_size=4)
    classifier = make_model(config, make_place())
    parity = check(EmulatedDataParallel(classifier, range(2)), samples=SyntheticImageNet(4, size, 10, seed=0))
    assert parity.outcome == "passed", parity


def test_a_gradient_that_is_not_finite_fails():
    reference = {"w": torch.ones(3)}
    assert parity.largest_error({"w": torch.tensor([1.0, float("nan"), 1.0])}, reference) == (float("inf"), "w")
    assert parity.largest_error({}, reference) == (float("inf"), "w")


def test_a_gradient_of_pure_rounding_noise_does_not_count():
    """That of a bias before a BatchNorm, which takes it out again: no two computations of it are alike."""
    reference = {"w": torch.ones(100), "bias": torch.tensor([1e-8])}
    error, _ = parity.largest_error({"w": torch.ones(100), "bias": torch.tensor([-1e-8])}, reference)
    assert error < parity.TOLERANCE
    error, worst = parity.largest_error({"w": torch.ones(100), "bias": torch.tensor([1e-3])}, reference)
    assert (error > parity.TOLERANCE, worst) == (True, "bias")


class ComputesBiasesOtherwise(EmulatedDataParallel):
    """As kernels of a GPU do for the convolution before a batch norm, in whose gradient only rounding is left."""

    def parallel_apply(self, replicas, inputs, kwargs):
        shards = super().parallel_apply(replicas, inputs, kwargs)
        for shard in shards:
            shard.replica.backbone[0].bias.register_hook(lambda gradient: gradient + self.off_by)
        return shards


@pytest.mark.parametrize(("off_by", "outcome"), [(1e-6, "passed"), (1e-2, "failed")])
def test_what_fp64_calls_noise_may_differ_but_not_by_much(off_by, outcome):
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    classifier = make_classifier(nn.Sequential(*layers, nn.Linear(4, 10)), make_config())
    model = ComputesBiasesOtherwise(classifier, range(2))
    model.off_by = off_by
    parity = check(model)
    assert (parity.outcome, parity.worst_parameter) == (outcome, "backbone.0.bias")


def test_error_is_relative_to_the_reference():
    reference = {"a": torch.full((4,), 2.0), "b": torch.full((4,), 2.0)}
    error, worst = parity.largest_error({"a": torch.full((4,), 2.2), "b": torch.full((4,), 2.0)}, reference)
    assert worst == "a"
    assert error == pytest.approx(0.1, rel=1e-5)


def test_batchnorm_that_is_not_synchronised_is_caught_where_it_should_be():
    """Its tolerance is as large as rounding makes it, and no larger."""
    classifier = make_model(make_config(), make_place())
    unsynchronised = EmulatedDataParallel(classifier, range(2))
    checked = check(unsynchronised, ddp=DdpOptions(sync_bn=True))
    assert checked.outcome == "failed"
    assert checked.tolerance < 0.05 < checked.max_relative_error
    batch = SAMPLES.__getitems__([(0, index) for index in range(4)])
    reference = parity.reference_gradient(classifier, batch, 1, torch.device("cpu"))
    in_fp64 = parity.reference_gradient(classifier, batch, 1, torch.device("cpu"), in_fp64=True)
    error, _ = parity.largest_error(reference, in_fp64)
    assert 1e-8 < error < 1e-2


class DrawsInForward(nn.Module):
    """Randomness that no layer switches off: attention's own dropout, and numbers drawn in `forward`."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, dropout=0.5, batch_first=True)

    def forward(self, features):
        words = features.unsqueeze(1).expand(-1, 6, -1)
        attended, _ = self.attention(words, words, words, need_weights=False)
        return nn.functional.dropout(attended.mean(1), 0.5) + torch.rand(4)


@pytest.mark.parametrize(("repeated", "outcome"), [(True, "passed"), (False, "failed")])
def test_any_randomness_is_the_same_for_both_gradients(monkeypatch, repeated, outcome):
    classifier = small_classifier()
    classifier.backbone.insert(4, DrawsInForward())
    if not repeated:
        monkeypatch.setattr("common.training.models.same_random_numbers", lambda device: nullcontext())
    before = torch.get_rng_state()
    assert check(EmulatedDataParallel(classifier, range(2))).outcome == outcome
    assert not repeated or torch.equal(torch.get_rng_state(), before)


def test_random_numbers_of_a_whole_batch_are_others_and_nothing_is_compared():
    """With --sync-bn the reference sees all samples at once: dropout inside `forward` would fail wrongly."""
    classifier = small_classifier()
    assert check(EmulatedDataParallel(classifier, range(2)), ddp=DdpOptions(sync_bn=True)).outcome == "passed"
    classifier.backbone.insert(4, DrawsInForward())
    before = torch.get_rng_state()
    parity = check(EmulatedDataParallel(classifier, range(2)), ddp=DdpOptions(sync_bn=True))
    assert (parity.outcome, parity.shards) == ("not applicable", 2)
    assert "--sync-bn" in parity.note
    assert torch.equal(torch.get_rng_state(), before)
    assert "--sync-bn" in parity_line(parity, Sentences("en"))
    assert outcome(make_record("ddp", 2, parity=parity), "parity") == "not applicable"
