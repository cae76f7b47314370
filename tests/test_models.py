import pytest
import torch
from factories import make_config, make_place

from common.errors import UsageError
from common.training import models

CPU = make_place()


def images(count, size):
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8)


def test_a_seed_fixes_the_weights():
    one, other, third = (models.create_model(make_config(seed=seed), CPU) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one.parameters(), third.parameters(), strict=True))


@pytest.mark.parametrize(
    ("name", "size", "heads"), [("resnet18", 32, 1), ("googlenet", 64, 3), ("inception_v3", 299, 2)]
)
def test_logits_hold_every_head(name, size, heads):
    model = models.create_model(make_config(model=name, image_size=size, per_device_batch_size=2), CPU)
    logits = model(images(2, size))
    assert logits.shape == (2, heads, 10)
    assert logits.dtype == torch.float32
    assert model.loss(logits, torch.tensor([0, 1])).ndim == 0


def test_auxiliary_heads_count_for_less():
    model = models.create_model(make_config(model="googlenet", image_size=64), CPU)
    logits = torch.zeros(1, 3, 10)
    assert model.loss(logits, torch.tensor([0])).item() == pytest.approx(1.6 * torch.log(torch.tensor(10.0)).item())


def test_images_are_normalised_as_imagenet_is():
    class Looks(torch.nn.Module):
        def forward(self, x):
            self.seen = x
            return x.flatten(1)

    model = models.Classifier(Looks(), make_config())
    model(torch.full((1, 3, 2, 2), 255, dtype=torch.uint8))
    expected = (1 - torch.tensor(models.MEAN)) / torch.tensor(models.STD)
    torch.testing.assert_close(model.backbone.seen[0, :, 0, 0], expected)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": "resnet5O"}, "resnet50"),
        ({"model": "ViT_B_16"}, "vit_b_16"),
        ({"model": "nothing like it"}, "resnet18"),
        ({"model": "vit_b_16", "image_size": 100}, "--image-size 224"),
        ({"model": "resnet18", "image_size": 32, "per_device_batch_size": 1}, "1 images of 32 px"),
    ],
)
def test_what_cannot_train_is_refused_before_it_is_tried(change, said):
    with pytest.raises(UsageError, match=said):
        models.create_model(make_config(**change), CPU)


def test_exact_puts_everything_back():
    model = models.create_model(make_config(model="alexnet", image_size=64, precision="bf16"), CPU)
    dropouts = [module for module in model.modules() if isinstance(module, torch.nn.Dropout)]
    with models.exact(model):
        assert model.autocast_dtype is None
        assert not any(module.training for module in dropouts)
    assert model.autocast_dtype is torch.bfloat16
    assert dropouts
    assert all(module.training for module in dropouts)
