import dataclasses

import pytest
import torch
from factories import make_classifier, make_config, make_model, make_place
from torch import nn

from common.command_line.model_names import torchvision_names
from common.errors import UsageError
from common.machine.libraries import import_torchvision
from common.training import models
from common.training.batch import tensors_of
from common.training.by_library import MEAN, STD
from lessons.fault_lab.fault import all_faults

CPU = make_place()


def images(count, size):
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8)


def test_a_seed_fixes_the_weights():
    one, other, third = (make_model(make_config(seed=seed), CPU) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one.parameters(), third.parameters(), strict=True))


@pytest.mark.parametrize(
    ("name", "size", "heads"), [("resnet18", 32, 1), ("googlenet", 64, 3), ("inception_v3", 299, 2)]
)
def test_outputs_are_those_of_every_head(name, size, heads):
    model = make_model(make_config(model=name, image_size=size, per_device_batch_size=2), CPU)
    outputs = model(images(2, size))
    assert [logits.shape for logits in tensors_of(outputs)] == [(2, 10)] * heads
    assert model.loss(outputs, torch.tensor([0, 1])).ndim == 0


def test_auxiliary_heads_count_for_less():
    model = make_model(make_config(model="googlenet", image_size=64), CPU)
    logits = (torch.zeros(1, 10),) * 3
    assert model.loss(logits, torch.tensor([0])).item() == pytest.approx(1.6 * torch.log(torch.tensor(10.0)).item())


def test_images_are_normalised_as_imagenet_is():
    class Looks(torch.nn.Module):
        def forward(self, x):
            self.seen = x
            return x.flatten(1)

    model = make_classifier(Looks(), make_config())
    model(torch.full((1, 3, 2, 2), 255, dtype=torch.uint8))
    expected = (1 - torch.tensor(MEAN)) / torch.tensor(STD)
    torch.testing.assert_close(model.backbone.seen[0, :, 0, 0], expected)


NAMED = all_faults()["batchnorm_one_sample"].named


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": "resnet5O"}, "resnet50"),
        ({"model": "ViT_B_16"}, "vit_b_16"),
        ({"model": "nothing like it"}, "resnet18"),
        ({"model": "vit_b_16", "image_size": 100}, "--image-size 224"),
        ({"model": "resnet18", "image_size": 32, "per_device_batch_size": 1}, f"1 image of 32 px .*{NAMED}"),
        # DataParallel gives three samples to two devices as two and one.
        ({"image_size": 32, "global_batch_size": 3, "per_device_batch_size": 2}, f"1 image of 32 px .*{NAMED}"),
        ({"image_size": 32, "global_batch_size": 7, "per_device_batch_size": 2}, f"1 image of 32 px .*{NAMED}"),
        # More than a process can address: less is given on some machines, until it is used.
        ({"image_size": 32, "num_classes": 10**11}, "lower --num-classes"),
    ],
)
def test_what_cannot_train_is_refused_before_it_is_tried(change, said):
    with pytest.raises(UsageError, match=said):
        make_model(make_config(**change), CPU)


def test_every_rank_and_replica_has_a_random_stream_of_its_own():
    """Dropout with one seed for all would take the same units out of every rank's samples."""
    config, drawn, weights = make_config(), [], []
    for rank in range(3):
        model = make_model(config, dataclasses.replace(make_place(), rank=rank))
        drawn.append(torch.rand(8).tolist())
        weights.append(torch.nn.utils.parameters_to_vector(model.parameters()))
    assert len({tuple(numbers) for numbers in drawn}) == 3
    assert torch.equal(weights[0], weights[1])
    assert torch.equal(weights[0], weights[2])


def test_operations_are_counted_by_kind():
    """alexnet, 3 × 64 × 64: its convolutions and its three linear layers by hand, 2 × multiply-adds, three passes."""
    flops = make_model(make_config(model="alexnet", image_size=64, num_classes=10), CPU).flops_by_kind
    # (outputs a channel, channels out, channels in × kernel) of each layer; the input needs no gradient.
    maps = [(15 * 15, 64, 3 * 121), (7 * 7, 192, 64 * 25), (3 * 3, 384, 192 * 9), (9, 256, 384 * 9), (9, 256, 256 * 9)]
    first, *others = (2 * size * out * into for size, out, into in maps)
    assert flops["convolution"] == 2 * first + 3 * sum(others)
    assert flops["matmul"] == 3 * 2 * (256 * 36 * 4096 + 4096 * 4096 + 4096 * 10)


def test_a_counter_that_fails_is_no_reason_to_refuse_a_model(monkeypatch):
    def broken(**options):
        raise RuntimeError("planted")

    monkeypatch.setattr(models, "FlopCounterMode", broken)
    assert make_model(make_config(), CPU).flops_by_kind is None


def test_names_that_are_read_from_the_source_are_those_of_the_zoo():
    zoo = import_torchvision().models
    assert torchvision_names() == sorted(zoo.list_models(module=zoo))


def test_counting_flops_leaves_buffers_as_they_were():
    """Of a model that looks at its numbers: one sample is run."""

    class LooksAtNumbers(nn.Module):
        autocast_dtype = None

        def __init__(self):
            super().__init__()
            self.convolution, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

        def forward(self, images):
            features = self.norm(self.convolution(images))
            return features * float(features.detach().abs().max())

    model = LooksAtNumbers()
    # Forward and the gradient of the weights: 2 × 36 places × 27 products × 4 channels, twice.
    assert models.count_flops(model, torch.randn(4, 3, 8, 8)) == {"convolution": 2 * 2 * 36 * 27 * 4, "matmul": 0}
    assert model.norm.num_batches_tracked == 0
    assert torch.equal(model.norm.running_mean, torch.zeros(4))
